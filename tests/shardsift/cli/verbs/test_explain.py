"""The verb prints a table and writes a picture for each image."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from shardsift import ScoreConfig, Scorer
from shardsift.cli.app import main
from tests.outputs import write_run
from tests.samples import encoded, write_tar


@pytest.fixture(name="photo")
def a_photo(tmp_path: Path) -> Path:
    path = tmp_path / "clouds.jpg"
    path.write_bytes(encoded(width=400))
    return path


def test_a_table_and_a_heat_map(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    line = ["explain", str(photo), "--model", "compact", "--output", str(tmp_path / "out")]
    assert main([*line, "--every-crop"]) == 0
    printed = capsys.readouterr().out
    assert "400x260" in printed
    assert "128,0" in printed
    with Image.open(tmp_path / "out" / "clouds-heat.png") as picture:
        assert picture.width > 800


def test_a_narrow_terminal_cuts_off_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a-photograph-whose-name-is-a-long-one.jpg"
    path.write_bytes(encoded(width=400))
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["explain", str(path), "--model", "compact"]) == 0
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert all(cue in printed for cue in ("quality", "q_sim", "q_mag", "w_sim"))
    assert len(re.findall(r" 0\.\d{4} ", printed)) >= 4


@pytest.mark.parametrize(
    ("content", "reason"), [(b"no image", "unsupported_format"), (None, "No such file")]
)
def test_what_is_no_image_is_a_mistake(
    tmp_path: Path, content: bytes | None, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "photo.jpg"
    if content is not None:
        path.write_bytes(content)
    assert main(["explain", str(path), "--model", "compact"]) == 2
    assert reason in capsys.readouterr().err


def test_a_missing_file_is_told_before_a_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = str(tmp_path / "gone.jpg")
    assert main(["explain", gone, "--model", "no model either"]) == 2
    assert f"{gone}: can't be read: No such file" in capsys.readouterr().err


@pytest.fixture(name="scores", scope="module")
def a_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    both = ("both.jpg", encoded(width=360, seed=3))
    write_tar(folder / "in" / "a.tar", [("one.jpg", encoded(width=400)), both])
    write_tar(folder / "in" / "b.tar", [both, ("bad.jpg", b"no image")])
    scorer = Scorer(ScoreConfig(model="compact", crops="fast"))
    return write_run(folder / "in", folder / "scores", scorer)


def test_a_key_of_a_run_is_explained_as_it_was_scored(
    scores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the crop plan that the run recorded, and not the default."""
    line = ["explain", "--annotations", str(scores), "--key", "one", "--json"]
    assert main(line) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["model"] == "compact, fast crops"
    assert found["crops"]["mean"]["quality"] == pytest.approx(found["quality_in_run"], abs=1e-6)
    line = ["explain", "--annotations", str(scores), "--key", "both", "--shard", "b.tar"]
    assert main([*line, "--output", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "both-heat.png").exists()
    capsys.readouterr()
    assert main([*line, "--crops", "global", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["model"] == "compact, global crops"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--key", "none"], "--key none: no sample has it"),
        (["--key", "both"], "is in 2 shards, such as a.tar and b.tar; name one with --shard"),
        (["--key", "one", "--shard", "c.tar"], "has no annotation of shard c.tar"),
        (["--key", "bad"], "has no score (unsupported_format)"),
        ([], "--annotations and --key go together"),
    ],
)
def test_what_is_no_sample_is_a_mistake(
    scores: Path, words: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "--annotations", str(scores), *words]) == 2
    assert problem in capsys.readouterr().err


def test_shards_of_a_run_may_have_moved(
    scores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(scores.parent / "in", tmp_path / "moved")
    run = tmp_path / "scores"
    shutil.copytree(scores, run)
    record = (run / "_run.json").read_text()
    assert str(scores.parent) in record
    line = ["explain", "--annotations", str(run), "--key", "one"]
    (scores.parent / "in").rename(scores.parent / "away")
    try:
        assert main(line) == 2
        assert "name their folder with --shards" in capsys.readouterr().err
        assert main([*line, "--shards", str(tmp_path / "moved")]) == 0
    finally:
        (scores.parent / "away").rename(scores.parent / "in")
