"""An experiment writes tables, figures and predictions that anybody can check."""

from __future__ import annotations

import csv
import io
import json
from itertools import combinations, islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from jobs.paper.config import ExperimentConfig
from jobs.paper.experiment import run
from shardsift.cli.console import PlainConsole
from shardsift.shards.tar_samples import read_tar
from tests.conftest import SHARED
from tests.rated import write_rated_shard
from tests.samples import File, write_tar

Values = NDArray[np.float64]

QUICK: dict[str, Any] = {"model": "compact", "brisque": False, "resamples": 20}


def measure(shard: Path, output: Path, **settings: Any) -> str:
    """Run an experiment; return its output."""
    said = io.StringIO()
    values = {"shards": (str(shard),), "output": output, **QUICK, **settings}
    run(ExperimentConfig.model_validate(values), PlainConsole(file=said, width=200))
    return said.getvalue()


def column(rows: list[dict[str, str]], name: str) -> Values:
    return np.array([float(row[name]) for row in rows])


def spearman(a: Values, b: Values) -> float:
    return float(cast(Any, stats.spearmanr(a, b))[0])


def pearson(a: Values, b: Values) -> float:
    return float(cast(Any, stats.pearsonr(a, b))[0])


def rmse(a: Values, b: Values) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)))


def curve(x: Values, b1: float, b2: float, b3: float, b4: float, b5: float) -> Values:
    return b1 * (0.5 - 1 / (1 + np.exp(b2 * (x - b3)))) + b4 * x + b5


def in_two_groups(source: Path, path: Path, images: int) -> Path:
    """The first pictures of a shard, each in one of two groups."""
    files: list[File] = []
    for number, sample in enumerate(islice(read_tar(str(source)), images)):
        assert sample.image
        assert sample.image.data
        assert sample.json
        fields = json.loads(sample.json) | {"kind": f"kind {number % 2}"}
        files.append((f"{sample.key}.jpg", sample.image.data))
        files.append((f"{sample.key}.json", json.dumps(fields).encode()))
    return write_tar(path, files)


def test_every_number_is_what_scipy_makes_of_the_predictions(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    source = SHARED / "data" / "agiqa3k" / "agiqa3k-00000.tar"
    if not source.exists():
        pytest.skip(f"{source} is not on this machine")
    shard = in_two_groups(source, tmp_path / "agiqa3k.tar", images=24)
    output = tmp_path / "out"
    paper = {"iqa_set": "agiqa3k", "protocol": "paper"}
    measure(shard, output, **paper, group_field="kind", ablate="all")
    found = json.loads((output / "evaluation.json").read_text())
    with (output / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    opinions = column(rows, "opinion")
    assert len(opinions) == 24
    ablations = {f"{row['family']}: {row['name']}": row["agreement"] for row in found["ablations"]}
    assert len(ablations) == 37
    for name, told in (found["methods"] | ablations).items():
        predictions = column(rows, name)
        value = {name: told[name]["value"] for name in ("srcc", "krcc", "plcc", "rmse", "plcc_raw")}
        assert value["srcc"] == pytest.approx(spearman(predictions, opinions), abs=1e-12)
        tau = cast(Any, stats.kendalltau(predictions, opinions))[0]
        assert value["krcc"] == pytest.approx(tau, abs=1e-12)
        assert value["plcc_raw"] == pytest.approx(pearson(predictions, opinions), abs=1e-12)
        line = cast(Values, np.polyval(np.polyfit(predictions, opinions, 1), predictions))
        assert value["rmse"] <= rmse(line, opinions) + 1e-9, "a line is such a curve, too"
        fitted = curve(
            (predictions - told["curve"]["centre"]) / told["curve"]["spread"],
            *told["curve"]["betas"],
        )
        assert value["plcc"] == pytest.approx(pearson(fitted, opinions), abs=1e-9)
        assert value["rmse"] == pytest.approx(rmse(fitted, opinions), abs=1e-9)
    for name, told in found["as_authors"].items():
        fitted = curve(column(rows, name), *told["betas"])
        assert told["srcc"] == pytest.approx(spearman(fitted, opinions), abs=1e-9)
        assert told["plcc"] == pytest.approx(pearson(fitted, opinions), abs=1e-9)
        assert told["rmse"] == pytest.approx(rmse(fitted, opinions), abs=1e-9)
    for third, places in zip(found["thirds"], np.array_split(np.argsort(opinions), 3), strict=True):
        assert third["images"] == 8
        for name, told in third["srcc"].items():
            expected = spearman(column(rows, name)[places], opinions[places])
            assert told["value"] == pytest.approx(expected, abs=1e-12)
            assert told["low"] <= told["high"]
    groups = np.array([row["group"] for row in rows])
    for told, name in (("before", "q_mag before Box-Cox"), ("after", "q_mag")):
        scaled = cast(Values, stats.zscore(column(rows, name)))
        parts = [scaled[groups == group] for group in sorted(set(groups))]
        distances = [stats.wasserstein_distance(a, b) for a, b in combinations(parts, 2)]
        assert found["groups"][f"wasserstein_{told}"] == pytest.approx(np.mean(distances))


def test_everything_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    shard = write_rated_shard(tmp_path / "rated.tar")
    output = tmp_path / "out"
    said = measure(shard, output, iqa_set="koniq10k", limit=10, ablate="prompts")
    assert {path.name for path in output.iterdir()} == {
        *("evaluation.json", "table.md", "predictions.csv"),
        *("fit.png", "fit.svg", "cues.png", "cues.svg"),
    }
    assert "no figure of groups: compact can't tell what a picture shows" in said
    table = (output / "table.md").read_text()
    assert "Agreement with opinions, koniq10k, 10 images, protocol native" in table
    assert r"Sharp image \| blurry image" in table, "a bar in a name is no column"
    assert "not to be held against the paper's figures" in table
    assert "0.7645" not in table + capsys.readouterr().out
