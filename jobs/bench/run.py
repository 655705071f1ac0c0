"""How fast, side by side in one run, and next to what people use today."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from jobs.bench.bench_config import BenchConfig
from jobs.bench.contestants import (
    CONTESTANTS,
    ENCODER_ALONE,
    TAR_TO_PARQUET,
    Conditions,
    Lap,
)
from jobs.bench.corpus import write_shard, write_weights
from jobs.bench.race import BenchmarkError, race
from jobs.bench.report import (
    BenchReport,
    engine_table,
    ratio,
    speed_table,
    stage_table,
    summarise,
)
from shardsift.cli.console import PlainConsole
from shardsift.errors import EngineError

WIDTH, HEIGHT = 512, 384


def run_bench(config: BenchConfig, console: PlainConsole) -> int:
    """Measure, print tables, write `bench.json` and `bench.png`; return the exit code.

    Raises:
        EngineError: if a contestant can't run.
    """
    output = config.output
    output.mkdir(parents=True, exist_ok=True)
    report = BenchReport(machine=_machine(config))
    with tempfile.TemporaryDirectory() as scratch:
        conditions = Conditions(
            weights=str(write_weights(Path(scratch, "weights.pt"))),
            device=config.device,
            threads=report.machine["cores"],
            batch_size=64 if config.device == "cpu" else 256,
        )
        laps = _race(Path(scratch), conditions, config, console)
        first = next(iter(laps.values()))
        report.entries = [summarise(name, own, first) for name, own in laps.items()]
        report.of_encoder = _share_of_encoder(laps)
        console.print(speed_table(report), stage_table(report))
        if config.ray:
            report.engine = _measure_engine(Path(scratch), conditions, config, console)
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
        "images": config.images_raced(),
        "size": [WIDTH, HEIGHT],
        "rounds": config.laps(),
    }


def _race(
    scratch: Path, conditions: Conditions, config: BenchConfig, console: PlainConsole
) -> dict[str, list[Lap]]:
    wanted = config.only or [""]
    names = [name for name in CONTESTANTS if any(word in name for word in wanted)]
    if conditions.device == "cpu":
        names = [name for name in names if " float16" not in name]
    warm_up = str(write_shard(scratch / "warm.tar", 2, WIDTH, HEIGHT))
    shard = str(write_shard(scratch / "race.tar", config.images_raced(), WIDTH, HEIGHT))
    laps: dict[str, list[Lap]] = {name: [] for name in names}
    racing = race(names, conditions, warm_up, shard, config.laps())
    try:
        for name, lap in console.track(racing, "laps", len(names) * config.laps()):
            laps[name].append(lap)
    except BenchmarkError as error:
        raise EngineError(f"the benchmark stopped: {error}") from error
    return laps


def _share_of_encoder(laps: Mapping[str, Sequence[Lap]]) -> dict[str, float]:
    return {
        dtype: ratio(laps[ENCODER_ALONE[dtype]], laps[whole])
        for dtype, whole in TAR_TO_PARQUET.items()
        if {whole, ENCODER_ALONE[dtype]} <= laps.keys()
    }


def _measure_engine(
    scratch: Path, conditions: Conditions, config: BenchConfig, console: PlainConsole
) -> dict[str, float]:
    from jobs.bench.engine import Load, measure_dispatch, measure_second_actor
    from shardsift.engine.cluster import connected

    loads = [Load(shards=200, images=20), Load(shards=4, images=2000)]
    real = Load(shards=6, images=4)
    figures: dict[str, float] = {}
    with connected(None):
        for load in loads[:1] if config.quick else loads:
            with console.status(f"shards of {load.images:,} images, model left out"):
                figures |= measure_dispatch(scratch, load)
        with console.status("one actor, then two"):
            figures["two actors over one, a core each"] = measure_second_actor(
                scratch, real, conditions.weights, (WIDTH, HEIGHT)
            )
    return figures


def _draw(report: BenchReport, path: Path) -> str:
    try:
        from jobs.bench.chart import draw_speeds
    except ImportError:
        return "needs matplotlib: pip install --group bench"
    return str(draw_speeds(report.entries, report.machine["device"], path))
