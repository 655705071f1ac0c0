"""The command line as a person meets it: a process, its output, its exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from shardsift.cli.app import VERBS, main
from tests.samples import encoded, write_tar


def shardsift(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "shardsift"]
    environment = os.environ | {"COLUMNS": "200"}
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, check=False, env=environment
    )


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


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_module_that_runs_it(verb: str) -> None:
    module = import_module(f"shardsift.cli.verbs.{verb.replace('-', '_')}")
    assert module.run.__annotations__["config"] == VERBS[verb].config.__name__


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
            ["score", "x.tar", "--output", "out", "--retry-errors", "blurry"],
            "--retry-errors blurry: is not among ",
        ),
        (
            ["score", "x.tar", "--output", "out", "--config", "gone.yaml"],
            "gone.yaml: can't",
        ),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(arguments: list[str], message: str) -> None:
    done = shardsift(*arguments)
    assert message in done.stderr
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_an_unknown_config_key_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("gpu_per_actor: 1\n")
    done = shardsift("score", "x.tar", "--output", "out", "--config", str(tmp_path / "run.yaml"))
    assert "unknown key 'gpu_per_actor'; did you mean gpus_per_actor?" in done.stderr
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_an_output_in_the_input_is_refused_before_anything_is_loaded(corpus: Path) -> None:
    done = shardsift("score", str(corpus), "--output", str(corpus / "out"))
    assert "a folder of shards" in done.stderr
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_a_machine_without_gpu_is_told_what_to_pass(corpus: Path, tmp_path: Path) -> None:
    done = shardsift("score", str(corpus), "--output", str(tmp_path / "out"), "--model", "compact")
    assert "pass --gpus-per-actor 0" in done.stderr
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
