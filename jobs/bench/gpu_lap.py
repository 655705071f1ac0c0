"""A shard from tar to Parquet, by one process or by several at once that share a device."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from time import perf_counter, thread_time
from typing import IO, cast

import torch
from pydantic import BaseModel

from shardsift.annotations.annotate import annotate
from shardsift.config import ScoreConfig
from shardsift.images.decoder import Decoder
from shardsift.images.pool import make_decoder
from shardsift.records import ShardTask
from shardsift.scoring.scorer import Scorer

_READY = "ready"


class Lap(BaseModel):
    """Input of a lap; `warm_up` is annotated first, and not measured."""

    scoring: ScoreConfig
    device: str
    batch_size: int
    decode_workers: int
    warm_up: Path
    shard: Path


class LapSpeed(BaseModel):
    """Result of a lap; `feeder` are µs of CPU a picture, of the thread that feeds the device."""

    images: int
    seconds: float
    feeder: float
    busy: dict[str, float]


def run_lap(lap: Lap) -> LapSpeed:
    """Annotate a shard in this process."""
    return _run(lap, wait=False)


def run_together(laps: Sequence[Lap]) -> list[LapSpeed]:
    """Annotate shards in as many processes, all from the same moment on."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "jobs.bench.gpu_lap", lap.model_dump_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for lap in laps
    ]
    pipes = [(cast(IO[str], one.stdin), cast(IO[str], one.stdout)) for one in processes]
    for _, stdout in pipes:
        assert stdout.readline().strip() == _READY, "a lap has ended early; it says why above"
    for stdin, _ in pipes:
        stdin.write("\n")
        stdin.flush()
    speeds = [LapSpeed.model_validate_json(stdout.readline()) for _, stdout in pipes]
    for process in processes:
        process.communicate()
    return speeds


def _run(lap: Lap, *, wait: bool) -> LapSpeed:
    scorer = Scorer(lap.scoring, device=lap.device, batch_size=lap.batch_size)
    with closing(make_decoder(lap.decode_workers, scorer.pin)) as decoder:
        _annotate(lap.warm_up, scorer, decoder)
        if wait:
            sys.stdout.write(f"{_READY}\n")
            sys.stdout.flush()
            sys.stdin.readline()
        return _annotate(lap.shard, scorer, decoder)


def _annotate(shard: Path, scorer: Scorer, decoder: Decoder) -> LapSpeed:
    task = ShardTask(url=str(shard), shard=shard.name, annotation="shard.parquet")
    began, feeder = perf_counter(), thread_time()
    report = annotate(task, scorer, str(shard.parent / "out"), decoder)
    seconds, feeder = perf_counter() - began, thread_time() - feeder
    return LapSpeed(
        images=report.rows,
        seconds=seconds,
        feeder=feeder * 1e6 / report.rows,
        busy={stage: own.busy / (own.busy + own.waiting) for stage, own in report.stages.items()},
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.stdout.write(_run(Lap.model_validate_json(sys.argv[1]), wait=True).model_dump_json() + "\n")
