"""`shardsift bench`: how fast, side by side in one run, and next to what people use today."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from jobs.benchmarks.contestants import CONTESTANTS, BenchSettings, Lap
from jobs.benchmarks.corpus import MODEL, write_shard, write_weights
from jobs.benchmarks.race import BenchmarkError, race
from pipeline.config import ScoreConfig
from pipeline.errors import EngineError
from pipeline.scoring.scorer import Scorer

WIDTH, HEIGHT = 512, 384

_SMALL_SHARDS, _SMALL_IMAGES = 200, 20
_LARGE_SHARDS, _LARGE_IMAGES = 4, 2000
_ACTOR_SHARDS = 6


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A contestant's result: medians over its laps."""

    name: str
    images_per_second: float
    crops_per_second: float
    seconds_per_image: float
    speedup: float
    peak_bytes: int
    stages: dict[str, float]
    difference: float | None


@dataclass(kw_only=True)
class BenchReport:
    """Everything that was measured; goes into `bench.json` as it is."""

    machine: dict[str, Any]
    entries: list[Entry] = field(default_factory=list[Entry])
    engine: dict[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """What to measure. `only` keeps contestants that have one of these words in their name."""

    images: int = 24
    rounds: int = 3
    device: str = "cpu"
    with_ray: bool = True
    only: Sequence[str] = ()


def run_bench(output: Path, config: BenchConfig, console: Console) -> int:
    """Measure, print tables, write `bench.json` and `bench.png`; the exit code.

    Raises:
        EngineError: where a contestant can't run.
    """
    output.mkdir(parents=True, exist_ok=True)
    report = BenchReport(machine=_machine(config))
    with tempfile.TemporaryDirectory() as scratch:
        settings = BenchSettings(
            weights=str(write_weights(Path(scratch, "weights.pt"))),
            device=config.device,
            threads=report.machine["cores"],
            batch_size=64 if config.device == "cpu" else 256,
        )
        report.entries = _race(Path(scratch), settings, config, console)
        console.print(speed_table(report))
        if config.with_ray:
            report.engine = _measure_engine(Path(scratch), settings, console)
            console.print(engine_table(report))
    path = output / "bench.json"
    path.write_text(json.dumps(report, default=vars, indent=2) + "\n")
    console.print(f"figures: {path}   chart: {_draw(report, output / 'bench.png')}")
    return 0


def _machine(config: BenchConfig) -> dict[str, Any]:
    return {
        "device": torch.cuda.get_device_name() if config.device == "cuda" else "cpu",
        "cores": os.cpu_count() or 1,
        "torch": torch.__version__,
        "images": config.images,
        "size": [WIDTH, HEIGHT],
        "rounds": config.rounds,
    }


def speed_table(report: BenchReport) -> Table:
    """A row a contestant."""
    table = Table(title=f"RN50, {WIDTH}x{HEIGHT} JPEGs in a tar, {report.machine['device']}")
    for column in ("", "images/s", "crops/s", "speed", "peak memory", "score off by"):
        table.add_column(column, justify="left" if not column else "right")
    table.add_column("busy")
    for entry in report.entries:
        total = sum(entry.stages.values()) or 1.0
        shares = (f"{stage} {seconds / total:.0%}" for stage, seconds in entry.stages.items())
        table.add_row(
            entry.name,
            f"{entry.images_per_second:,.2f}",
            f"{entry.crops_per_second:,.1f}",
            f"{entry.speedup:.2f} x",
            f"{entry.peak_bytes / 1e6:,.0f} MB",
            "" if entry.difference is None else f"{entry.difference:.1e}",
            ", ".join(shares),
        )
    return table


def engine_table(report: BenchReport) -> Table:
    """What the engine does with the model left out, and with two actors."""
    table = Table(title="engine")
    table.add_column("")
    table.add_column("", justify="right")
    for name, value in report.engine.items():
        table.add_row(name, f"{value:,.2f}")
    return table


def _race(
    scratch: Path, settings: BenchSettings, config: BenchConfig, console: Console
) -> list[Entry]:
    wanted = config.only or [""]
    names = [name for name in CONTESTANTS if any(word in name for word in wanted)]
    if settings.device == "cpu":
        names = [name for name in names if "float16" not in name or "bfloat16" in name]
    warm_up = str(write_shard(scratch / "warm.tar", 2, WIDTH, HEIGHT))
    shard = str(write_shard(scratch / "race.tar", config.images, WIDTH, HEIGHT))
    laps: dict[str, list[Lap]] = {name: [] for name in names}
    with console.status("starting contestants") as status:
        try:
            for name, lap in race(names, settings, warm_up, shard, config.rounds):
                laps[name].append(lap)
                status.update(
                    f"lap {len(laps[name])} of {config.rounds}: {name}, {lap.seconds:.1f} s"
                )
        except BenchmarkError as error:
            raise EngineError(f"the benchmark stopped: {error}") from error
    first = laps[names[0]]
    return [_entry(name, laps[name], first) for name in names]


def _entry(name: str, laps: Sequence[Lap], first: Sequence[Lap]) -> Entry:
    lap, base = laps[0], first[0]
    seconds = median(lap.seconds for lap in laps)
    comparable = lap.quality and base.quality and lap.crops == base.crops
    return Entry(
        name=name,
        images_per_second=lap.images / seconds,
        crops_per_second=lap.crops / seconds,
        seconds_per_image=seconds / lap.images,
        # Laps of one round ran one after another, so their ratio is the steadiest figure.
        speedup=median(b.seconds / own.seconds for own, b in zip(laps, first, strict=True)),
        peak_bytes=max(lap.peak_bytes for lap in laps),
        stages={stage: median(lap.stages[stage] for lap in laps) for stage in lap.stages},
        difference=float(np.abs(np.subtract(lap.quality, base.quality)).max())
        if comparable
        else None,
    )


def _measure_engine(scratch: Path, settings: BenchSettings, console: Console) -> dict[str, float]:
    from jobs.engine.cluster import connected

    figures: dict[str, float] = {}
    with connected(None):
        for images, count in ((_SMALL_IMAGES, _SMALL_SHARDS), (_LARGE_IMAGES, _LARGE_SHARDS)):
            with console.status(f"shards of {images} images, model left out"):
                ours, theirs = _engine_seconds(scratch, images, count)
            of = f"shards/s of {images:,} images, model left out"
            figures[of] = count / ours
            figures[f"{of}: Ray Data"] = count / theirs
            figures[f"{of}: ours over Ray Data"] = theirs / ours
        with console.status("one actor, then two"):
            figures["two actors over one, a core each"] = _second_actor(scratch, settings)
    return figures


def _engine_seconds(scratch: Path, images: int, count: int) -> tuple[float, float]:
    """What our engine and a plain Ray Data pipeline take for the same shards."""
    from jobs.benchmarks.engine import GreyLevel, time_coordinator
    from jobs.benchmarks.raydata import time_ray_data

    shards = [
        str(write_shard(scratch / f"{images}-{number}.tar", images, 128, 96))
        for number in range(count)
    ]
    return (
        time_coordinator(shards, 2, GreyLevel, GreyLevel.fingerprint),
        time_ray_data(shards, 2, GreyLevel),
    )


def _second_actor(scratch: Path, settings: BenchSettings) -> float:
    """How many times as fast two actors of one thread are as one of them."""
    from jobs.benchmarks.engine import time_coordinator

    shards = [
        str(write_shard(scratch / f"actor-{number}.tar", 4, WIDTH, HEIGHT))
        for number in range(_ACTOR_SHARDS)
    ]
    config = ScoreConfig(model=MODEL, pretrained=settings.weights)
    make_scorer, fingerprint = partial(_one_thread, config), Scorer(config).fingerprint
    one, two = (time_coordinator(shards, actors, make_scorer, fingerprint) for actors in (1, 2))
    return one / two


def _one_thread(config: ScoreConfig) -> Scorer:
    torch.set_num_threads(1)
    return Scorer(config)


def _draw(report: BenchReport, path: Path) -> str:
    try:
        from jobs.benchmarks.chart import draw_speeds
    except ImportError:
        return "needs matplotlib: pip install 'shardsift[bench]'"
    return str(draw_speeds(report.entries, report.machine["device"], path))


if __name__ == "__main__":
    from jobs.cli import main

    sys.exit(main(["bench", *sys.argv[1:]]))
