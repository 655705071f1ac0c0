"""The simulation next to one and two real actors on this machine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import process_time

import torch

from jobs.bench.corpus import write_shard
from jobs.bench.engine import time_coordinator
from jobs.bench.outlook import ScaleConfig, simulate
from shardsift.annotations.annotate import annotate
from shardsift.config import ScoreConfig
from shardsift.engine.cluster import connected
from shardsift.records import ShardTask
from shardsift.scoring.scorer import Scorer

_SHARDS, _PICTURES = 12, 100
_ROUNDS = 3
_MODEL = ScoreConfig(model="compact", crops="global")


@dataclass(frozen=True, kw_only=True)
class Check:
    """Pictures a second of a number of actors, simulated and real."""

    actors: int
    simulated: float
    real: float


def hold_against_real() -> Iterator[Check]:
    """Measure what stages cost one actor in this process; simulate by that, and then do it.

    The small model on CPUs, a thread an actor: cores are what actors share here.
    """
    with tempfile.TemporaryDirectory() as folder, connected(None):
        shards = [
            str(write_shard(Path(folder, f"{number}.tar"), _PICTURES, 512, 384))
            for number in range(_SHARDS)
        ]
        config = _measure_costs(shards)
        for actors in (1, 2):
            laps = [time_coordinator(shards, actors, _one_thread) for _ in range(_ROUNDS)]
            yield Check(
                actors=actors,
                simulated=simulate(config, actors, 1e9).pictures_per_second,
                real=_SHARDS * _PICTURES / median(laps),
            )


def _measure_costs(shards: Sequence[str]) -> ScaleConfig:
    scorer = _one_thread()
    busy: dict[str, list[float]] = {"score": [], "decode": [], "read": [], "cpu": []}
    for number in range(1 + _ROUNDS):
        task = ShardTask(url=shards[number], shard="a.tar", annotation="a.parquet")
        cpu = process_time()
        report = annotate(task, scorer, str(Path(shards[0]).parent / "out"))
        if number:  # the first one warms
            busy["cpu"].append(process_time() - cpu)
            for stage in ("score", "decode", "read"):
                busy[stage].append(report.stages[stage].busy)
    micro = {stage: median(each) * 1e6 / _PICTURES for stage, each in busy.items()}
    return ScaleConfig(
        pictures=_SHARDS * _PICTURES,
        shard_pictures=_PICTURES,
        score_us=micro["score"],
        decode_us=micro["decode"],
        process_us=micro["read"],
        cpu_us=micro["cpu"],
        decoders=2,
        cores_per_node=os.cpu_count() or 1,
        node_gb_s=1e9,
        start_seconds=0,
    )


def _one_thread() -> Scorer:
    torch.set_num_threads(1)
    return Scorer(_MODEL)
