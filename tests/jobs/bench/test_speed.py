"""The benchmark: real contestants on a tiny shard."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from jobs.bench.contestants import Conditions
from jobs.bench.race import BenchmarkError, race
from jobs.bench.speed import SpeedConfig, measure
from shardsift.cli.console import PlainConsole


@pytest.mark.skipif("SHARDSIFT_TEST_BENCH" not in os.environ, reason="make bench runs it: 50 s")
def test_ours_scores_as_the_published_code_does(tmp_path: Path) -> None:
    console = PlainConsole(file=io.StringIO(), width=200)
    only = ("published", "shardsift paper float32", "encoder alone float32")
    config = SpeedConfig(output=tmp_path, images=1, rounds=1, ray=False, only=only)
    measure(config, console)
    report = json.loads((tmp_path / "speed.json").read_text())
    theirs, ours, alone = report["entries"]
    assert theirs["speedup"] == 1.0
    assert ours["difference"] < 1e-5
    assert ours["images_per_second"] > 0
    assert {"read", "decode", "score", "write"} == ours["stages"].keys()
    assert alone["of_peak"] > 0
    assert report["of_encoder"]["float32"] > 0
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif("SHARDSIFT_TEST_BENCH" not in os.environ, reason="make bench runs it: 8 s")
def test_a_contestant_that_cannot_run_is_named(tmp_path: Path) -> None:
    settings = Conditions(weights="/gone.pt", device="cpu", threads=1, batch_size=2)
    with pytest.raises(BenchmarkError, match=r"plain open_clip loop: .*gone"):
        next(race(["plain open_clip loop"], settings, "warm.tar", "race.tar", 1))
