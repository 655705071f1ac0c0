"""Speed, side by side in one run, next to what people use today."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from rich.table import Table

from jobs.bench.contestants import (
    CONTESTANTS,
    ENCODER_ALONE,
    TAR_TO_PARQUET,
    Conditions,
    Lap,
)
from jobs.bench.corpus import write_shard, write_weights
from jobs.bench.harness import Measurement, table
from jobs.bench.race import BenchmarkError, race
from shardsift.cli.console import PlainConsole
from shardsift.drawing import new_figure
from shardsift.errors import EngineError


class SpeedConfig(Measurement):
    """Settings of `speed`: contestants, rounds, pictures."""

    quick: bool = Field(
        default=False,
        description="less of everything, and the engine without large shards: some four minutes on "
        "two cores, and rougher figures",
    )
    images: int | None = Field(
        default=None, ge=1, description="images in the shard that is raced; 24, or 6 if quick"
    )
    rounds: int | None = Field(
        default=None,
        ge=1,
        description="laps of each contestant, of which the table has medians; 3, or 2 if quick",
    )
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="`cpu` or `cuda`")
    ray: bool = Field(default=True, description="time the engine, which needs Ray, too")
    only: tuple[str, ...] = Field(
        default=(), description="contestants with this word in their name; may be repeated"
    )

    def images_raced(self) -> int:
        """Return the number of images in the shard that is raced."""
        return self.images or (6 if self.quick else 24)

    def laps(self) -> int:
        """Return the number of laps of each contestant."""
        return self.rounds or (2 if self.quick else 3)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A contestant's result: medians over its laps.

    Attributes:
        slowest, fastest: images a second of single laps.
        speedup: over the first contestant, within the rounds.
        peak_bytes: of its process.
        stages: seconds in which each was busy.
        difference: largest, of an image's quality to the first contestant's.
        of_peak: arithmetic, as a share of torch's own matrix product in the same process.
    """

    name: str
    images_per_second: float
    slowest: float
    fastest: float
    crops_per_second: float
    speedup: float
    peak_bytes: int
    stages: dict[str, float]
    difference: float | None
    of_peak: float | None


@dataclass(kw_only=True)
class BenchReport:
    """All measurements, as in `bench.json`.

    Attributes:
        of_encoder: images a second from tar to Parquet, as a share of the encoder alone's, by
            dtype.
        engine: measurements of the engine, by name.
    """

    machine: dict[str, Any]
    entries: list[Entry] = field(default_factory=list[Entry])
    of_encoder: dict[str, float] = field(default_factory=dict[str, float])
    engine: dict[str, float] = field(default_factory=dict[str, float])


def summarise(name: str, laps: Sequence[Lap], first: Sequence[Lap]) -> Entry:
    """Sum up a contestant's laps beside those of the first contestant."""
    lap, base = laps[0], first[0]
    seconds = [lap.seconds for lap in laps]
    comparable = lap.quality and base.quality and lap.crops == base.crops
    shares = [lap.of_peak for lap in laps if lap.of_peak is not None]
    return Entry(
        name=name,
        images_per_second=lap.images / median(seconds),
        slowest=lap.images / max(seconds),
        fastest=lap.images / min(seconds),
        crops_per_second=lap.crops / median(seconds),
        speedup=ratio(first, laps),
        peak_bytes=max(lap.peak_bytes for lap in laps),
        stages={stage: median(lap.stages[stage] for lap in laps) for stage in lap.stages},
        difference=float(np.abs(np.subtract(lap.quality, base.quality)).max())
        if comparable
        else None,
        of_peak=median(shares) if shares else None,
    )


def ratio(slow: Sequence[Lap], fast: Sequence[Lap]) -> float:
    """Return the median ratio of the speeds of two contestants over rounds."""
    return median(a.seconds / b.seconds for a, b in zip(slow, fast, strict=True))


def _speed_table(report: BenchReport) -> Table:
    """Tabulate the speeds, a row a contestant."""
    width, height = report.machine["size"]
    lines = [
        f"{dtype}: from tar to Parquet at {share:.0%} of the encoder alone"
        for dtype, share in report.of_encoder.items()
    ]
    return table(
        f"RN50, {width}x{height} JPEGs in a tar, {report.machine['device']}",
        ["", "images/s", "±", "crops/s", "speed", "MB", "off by", "peak"],
        [
            [
                entry.name,
                f"{entry.images_per_second:,.2f}",
                f"{(entry.fastest - entry.slowest) / 2 / entry.images_per_second:.0%}",
                f"{entry.crops_per_second:,.1f}",
                f"{entry.speedup:.2f}x",
                f"{entry.peak_bytes / 1e6:,.0f}",
                f"{entry.difference:.0e}" if entry.difference else "",
                "" if entry.of_peak is None else f"{entry.of_peak:.0%}",
            ]
            for entry in report.entries
        ],
        caption="\n".join(
            [*lines, "MB: peak memory; peak: arithmetic, as a share of torch's matrix product"]
        ),
    )


def _stage_table(report: BenchReport) -> Table:
    """Tabulate in which stages contestants were busy; stages of Shardsift overlap."""
    stages = list(dict.fromkeys(stage for entry in report.entries for stage in entry.stages))
    rows = [
        [
            entry.name,
            *(
                f"{entry.stages[stage] / sum(entry.stages.values()):.1%}"
                if stage in entry.stages
                else ""
                for stage in stages
            ),
        ]
        for entry in report.entries
        if entry.stages
    ]
    return table("share of busy time", ["", *stages], rows)


WIDTH, HEIGHT = 512, 384


def measure(config: SpeedConfig, console: PlainConsole) -> None:
    """Measure, print tables, write `speed.json` and `speed.png`.

    Raises:
        EngineError: if a contestant can't run.
    """
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
        console.print(_speed_table(report), _stage_table(report))
        if config.ray:
            report.engine = _measure_engine(Path(scratch), conditions, config, console)
            rows = [[name, f"{value:,.2f}"] for name, value in report.engine.items()]
            console.print(table("engine", ["", ""], rows))
    config.write("speed", report, console)
    console.print(f"chart: {_draw(report, config.output / 'speed.png')}", soft_wrap=True)


def _machine(config: SpeedConfig) -> dict[str, Any]:
    return {
        "device": torch.cuda.get_device_name() if config.device == "cuda" else "cpu",
        "cores": os.cpu_count() or 1,
        "torch": torch.__version__,
        "images": config.images_raced(),
        "size": [WIDTH, HEIGHT],
        "rounds": config.laps(),
    }


def _race(
    scratch: Path, conditions: Conditions, config: SpeedConfig, console: PlainConsole
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
    scratch: Path, conditions: Conditions, config: SpeedConfig, console: PlainConsole
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


_OURS, _OTHERS = "#2a6f97", "#b8b8b8"


def _draw(report: BenchReport, path: Path) -> Path:
    """Write a PNG of images a second, each with its ratio to the first."""
    entries, device = report.entries, report.machine["device"]
    figure = new_figure(8, 0.5 * len(entries) + 1.2)
    axes = figure.add_subplot()
    names = [entry.name for entry in entries]
    speeds = [entry.images_per_second for entry in entries]
    ours = [_OURS if "our" in name or "shardsift" in name else _OTHERS for name in names]
    bars = axes.barh(names, speeds, color=ours)
    labels = [f"{entry.images_per_second:,.2f}  ({entry.speedup:.1f}x)" for entry in entries]
    axes.bar_label(bars, labels, padding=4)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(right=1.22 * max(speeds))
    axes.set_xlabel("images/s")
    axes.set_title(f"512x384 JPEGs from tar to score, RN50, {device}", loc="left")
    figure.savefig(path, dpi=130)
    return path
