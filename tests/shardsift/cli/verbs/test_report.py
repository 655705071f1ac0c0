"""`report` writes one page; `compare` prints and writes what differs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shardsift.cli.app import main
from tests.fakes import FakeScorer
from tests.outputs import write_run
from tests.pages import data_in
from tests.samples import write_shards


@pytest.fixture(name="run")
def a_run(tmp_path: Path) -> Path:
    write_shards(tmp_path / "shards", shards=2, samples=5)
    return write_run(tmp_path / "shards", tmp_path / "scores", FakeScorer())


def test_a_page_is_written(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "report"
    assert main(["report", str(run), "--output", str(output), "--keep_top", "0.5"]) == 0
    pictures = data_in((output / "report.html").read_text())["pictures"]
    assert sum(picture["preview"] is not None for picture in pictures) == 10
    assert [path.name for path in output.iterdir()] == ["report.html"]
    assert "report.html" in capsys.readouterr().err


def test_shards_may_have_moved(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shards").rename(tmp_path / "elsewhere")
    line = ["report", str(run), "--output", str(tmp_path / "report")]
    assert main(line) == 0
    assert "10 of 10 pictures are missing" in capsys.readouterr().err
    assert main([*line, "--shards", str(tmp_path / "elsewhere")]) == 0
    assert "missing" not in capsys.readouterr().err


def test_a_run_equals_itself(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "compared"
    line = ["compare", str(run), str(run), "--output", str(output), "--keep-top", "0.4"]
    assert main(line) == 0
    assert "kept by both" in capsys.readouterr().out
    found = json.loads((output / "comparison.json").read_text())
    assert found["overlaps"][0]["keep_top"] == 0.4
    assert found["max_absolute"] == 0


@pytest.mark.parametrize("verb", [["report", "--output", "x"], ["compare", "."]])
def test_a_folder_without_a_run_is_a_mistake(
    verb: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*verb, str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("shardsift: ")
