"""The verb writes a table, figures and predictions that anybody can check."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from scipy import stats

from shardsift.cli.app import main
from tests.shardsift.evaluation.rated import write_rated_shard


def test_everything_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    shard = write_rated_shard(tmp_path / "rated.tar")
    arguments = ["--model", "compact", "--no-brisque", "--resamples", "20"]
    further = ["--iqa_set", "koniq10k", "--limit", "10"]
    output = tmp_path / "out"
    assert main(["evaluate", str(shard), "--output", str(output), *arguments, *further]) == 0
    assert {path.name for path in output.iterdir()} == {
        *("evaluation.json", "table.md", "predictions.csv"),
        *("fit.png", "cues.png"),
    }
    found = json.loads((output / "evaluation.json").read_text())
    with (output / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == found["images"] == 10
    predictions, opinions = ([float(row[name]) for row in rows] for name in ("MA-CLIP", "opinion"))
    expected = stats.spearmanr(predictions, opinions)[0]
    assert found["methods"]["MA-CLIP"]["srcc"]["value"] == pytest.approx(expected)
    assert "0.7645" in (output / "table.md").read_text()  # the paper's own figure
    assert "agreement with opinions" in capsys.readouterr().out


def test_shards_without_opinions_are_a_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard = write_rated_shard(tmp_path / "rated.tar")
    line = ["evaluate", str(shard), "--output", str(tmp_path), "--mos-field", "score"]
    assert main([*line, "--model", "compact", "--no-brisque"]) == 2
    assert "'score'" in capsys.readouterr().err
