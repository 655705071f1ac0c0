"""`report` writes one page; `compare` prints and writes what differs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from shardsift import ScoreConfig, Scorer
from shardsift.cli.app import main
from tests.fakes import FakeScorer
from tests.outputs import write_run
from tests.pages import data_in
from tests.samples import encoded, write_shards, write_tar


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


def test_heat_maps_are_those_of_the_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shards(tmp_path / "shards", shards=1, samples=3)
    write_tar(tmp_path / "shards" / "large.tar", [("a.jpg", encoded(width=600, height=500))])
    scorer = Scorer(ScoreConfig(model="compact"))
    run = write_run(tmp_path / "shards", tmp_path / "scores", scorer)
    line = ["report", str(run), "--output", str(tmp_path / "report"), "--model", "compact"]
    assert main(line) == 0
    assert "heat maps: 16 crops of 4 pictures to score" in capsys.readouterr().err
    pictures = data_in((tmp_path / "report" / "report.html").read_text())["pictures"]
    (heat,) = [one["heat"] for one in pictures if one["key"] == "a"]
    assert (heat["tops"], heat["lefts"]) == ([0, 128, 256], [0, 128, 256])
    (tmp_path / "a.jpg").write_bytes(encoded(width=600, height=500))
    score = scorer(tmp_path / "a.jpg")
    assert heat["quality"] == np.round(1000 * score.per_crop.quality[:9]).astype(int).tolist()


def test_heat_maps_of_another_model_are_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["report", str(run), "--output", str(tmp_path / "report"), "--model", "compact"]
    assert main(line) == 2
    assert "pass the model of the run" in capsys.readouterr().err
    assert main([*line[:-2], "--pretrained", "x"]) == 2
    assert "--pretrained needs --model" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["report", "compare"])
def test_the_page_opens_in_a_browser(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    runs = [str(run)] * (2 if verb == "compare" else 1)
    assert main([verb, *runs, "--output", str(tmp_path / "out"), "--open"]) == 0
    page = {"report": "report.html", "compare": "comparison.html"}[verb]
    assert opened == [(tmp_path / "out" / page).as_uri()]


def test_nothing_can_be_opened_that_is_not_written(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(run), str(run), "--open"]) == 2
    assert "needs an --output" in capsys.readouterr().err


def test_a_run_equals_itself(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "compared"
    line = ["compare", str(run), str(run), "--output", str(output), "--keep-top", "0.4"]
    assert main(line) == 0
    assert "kept by both" in capsys.readouterr().out
    assert "<!doctype html>" in (output / "comparison.html").read_text()
    found = json.loads((output / "comparison.json").read_text())
    assert found["overlaps"][0]["keep_top"] == 0.4
    assert found["max_absolute"] == 0


@pytest.mark.parametrize("verb", [["report", "--output", "x"], ["compare", "."]])
def test_a_folder_without_a_run_is_a_mistake(
    verb: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*verb, str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("shardsift: ")
