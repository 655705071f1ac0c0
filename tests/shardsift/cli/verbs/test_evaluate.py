"""The verb writes a page, a table and every prediction."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from shardsift.cli.app import main
from tests.rated import write_rated_shard

QUICK = ["--model", "compact", "--crops", "global", "--resamples", "20"]


def test_everything_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shard = write_rated_shard(tmp_path / "rated.tar")
    output = tmp_path / "out"
    line = ["evaluate", str(shard), "--output", str(output), *QUICK]
    assert main([*line, "--limit", "10"]) == 0
    names = {"evaluation.html", "evaluation.json", "table.md", "predictions.csv"}
    assert {path.name for path in output.iterdir()} == names
    assert "agreement with opinions" in capsys.readouterr().out
    with (output / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    methods = json.loads((output / "evaluation.json").read_text())["methods"]
    opinions = [float(row["opinion"]) for row in rows]
    assert len(opinions) == 10
    for name, told in methods.items():
        srcc = stats.spearmanr([float(row[name]) for row in rows], opinions)[0]
        assert told["srcc"]["value"] == pytest.approx(srcc, abs=1e-12)
        assert told["srcc"]["low"] <= told["srcc"]["high"]
    page = (output / "evaluation.html").read_text()
    for name, told in methods.items():
        assert f"<strong>{name}</strong>, SRCC {told['srcc']['value']:.3f}" in page
    assert page.count("<svg") == len(methods)
    assert page.count("h0") == 10 * len(methods), "a dot for every image"
    assert np.isfinite(opinions).all()


def test_shards_without_opinions_are_a_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard = write_rated_shard(tmp_path / "rated.tar")
    line = ["evaluate", str(shard), "--output", str(tmp_path), "--mos-field", "score"]
    assert main([*line, "--model", "compact"]) == 2
    assert "'score'" in capsys.readouterr().err
