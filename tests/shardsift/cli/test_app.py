"""The command line as a person meets it: a process, its output, its exit code."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from shardsift import __version__, annotate_shards
from shardsift.cli.app import main
from shardsift.cli.catalogue import VERBS
from tests.fakes import FakeScorer
from tests.generated import write_annotations
from tests.held import Web
from tests.samples import encoded, write_shards, write_tar


def shardsift(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "shardsift"]
    environment = os.environ | {"COLUMNS": "200"}
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, check=False, env=environment
    )


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command line that is a mistake, in this process; its one line."""

    def refused(*arguments: str) -> str:
        assert main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return refused


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    write_tar(tmp_path / "in" / "0.tar", [("1.jpg", encoded())])
    return tmp_path / "in"


def test_help_loads_neither_torch_nor_ray() -> None:
    """That, and not the machine's speed, decides whether it answers in under half a second."""
    script = (
        "import sys; from shardsift.cli.app import main; main(['score', '--help']); "
        "sys.exit(bool({'torch', 'ray', 'pyarrow', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_takes_a_config_file(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "some.yaml").write_text("colour: blue\n")
    assert main([verb, "--config", str(tmp_path / "some.yaml")]) == 2
    assert "unknown key 'colour'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["score", "x.tar", "--outptu", "y"], "no such option: --outptu; did you mean --output?"),
        (["score", "x.tar", "--max_atempts", "3"], "did you mean --max-attempts?"),
        (["score", "x.tar", "--actors", "many"], "--actors many: has to be a whole number"),
        (["score", "x.tar"], "no --output"),
        (["score", "--output", "out"], "no shards given"),
        (["scroe"], "no such verb: scroe; did you mean score?"),
        (
            ["score", "x.tar", "--output", "out", "--crops", "all"],
            "--crops all: is not among paper, ",
        ),
        (
            ["score", "x.tar", "--output", "out", "--rescore", "blurry"],
            "--rescore blurry: is not among ",
        ),
        (
            ["score", "x.tar", "--output", "out", "--config", "gone.yaml"],
            "gone.yaml: can't",
        ),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(
    arguments: list[str], message: str, refused: Callable[..., str]
) -> None:
    assert message in refused(*arguments)


def test_an_output_in_the_input_is_refused_before_anything_is_loaded(
    corpus: Path, refused: Callable[..., str]
) -> None:
    assert "a folder of shards" in refused("score", str(corpus), "--output", str(corpus / "out"))


def test_a_machine_without_gpu_is_told_what_to_pass(corpus: Path, tmp_path: Path) -> None:
    done = shardsift("score", str(corpus), "--output", str(tmp_path / "out"), "--model", "compact")
    assert "pass --gpus-per-actor 0" in done.stderr
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_the_version_is_told() -> None:
    done = shardsift("--version")
    assert (done.returncode, done.stdout) == (0, f"shardsift {__version__}\n")


def test_without_a_verb_there_is_help_and_nothing_else() -> None:
    done = shardsift()
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage:" in done.stdout
    assert all(f" {verb} " in done.stdout for verb in VERBS)


def test_help_says_what_is_typed_behind_a_flag_and_of_switches_nothing() -> None:
    told = shardsift("filter", "--help").stdout
    assert "<bool>" not in told
    assert re.search(r"--output +-o +TEXT", told)
    assert re.search(r"--dry-run +Find the threshold", told)


def test_a_missing_input_is_told_before_an_output_in_it(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    gone = str(tmp_path / "gone")
    for verb, *rule in (["filter", "--keep-top", "0.5"], ["compact"], ["score"]):
        place = f"{gone}/{{0..3}}.tar" if verb == "score" else gone
        told = refused(verb, place, *rule, "--output", f"{gone}/out")
        assert "can't be found" in told or "no annotations here" in told


def test_without_credentials_it_says_what_to_set(tmp_path: Path) -> None:
    pytest.importorskip("s3fs")
    bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    command = [sys.executable, "-m", "shardsift", "score", "s3://bucket/x", "-o", "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=bare)
    assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE" in done.stderr
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_verb_says_what_to_do(number: signal.Signals, tmp_path: Path) -> None:
    """A command that can't resume doesn't claim to. It is stopped while it hangs in a read."""
    web = Web(write_shards(tmp_path / "in", 2, samples=2), held=1)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    web.open_gate()
    out = tmp_path / "scores"
    annotate_shards(web.shards, FakeScorer(), out)
    web.shut_gate()
    command = [sys.executable, "-m", "shardsift", "verify", str(out), "--recount"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert web.asked.wait(60)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert said.endswith("interrupted; run the same command again\n")
    assert process.returncode == 130
    web.open_gate()
    web.shutdown()
    web.server_close()


@pytest.mark.parametrize("name", ["_run.json", "0.parquet", "_manifest.arrow", "_summary.json"])
@pytest.mark.parametrize("device", [None, "/dev/zero"])
def test_a_pipe_or_device_in_place_of_a_file_isnt_opened(
    name: str, device: str | None, tmp_path: Path
) -> None:
    write_tar(tmp_path / "in" / "0.tar", [("1.jpg", encoded())])
    annotate_shards(tmp_path / "in", FakeScorer(), tmp_path / "scores")
    path = tmp_path / "scores" / name
    path.unlink()
    if device is None:
        os.mkfifo(path)
    else:
        path.symlink_to(device)
    assert main(["verify", str(tmp_path / "scores")]) in (1, 2)
    assert main(["filter", str(tmp_path / "scores"), "--keep-top", "1", "--dry-run"]) in (0, 2)


def test_a_quiet_verb_says_nothing_but_what_is_wrong(tmp_path: Path) -> None:
    scores = write_annotations(tmp_path / "scores", {"a.tar": [0.1, 0.2]})
    done = shardsift("compact", str(scores), "-o", f"{tmp_path}/few", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = shardsift("compact", str(scores), "-o", f"{tmp_path}/few", "-q")
    assert "--overwrite to replace them" in done.stderr


def test_a_variable_that_sets_nothing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHARDSIFT_KEPT_TOP", "0.5")
    monkeypatch.setenv("SHARDSIFT_KEEP_COUNT", "1")
    scores = write_annotations(tmp_path / "scores", {"a.tar": [0.1, 0.2]})
    done = shardsift("filter", str(scores), "--dry-run")
    assert done.returncode == 0
    assert re.search("kept +│ 1 │", done.stdout)
    assert "SHARDSIFT_KEPT_TOP: no setting; did you mean SHARDSIFT_KEEP_TOP?" in done.stderr
