"""What the benchmark measured, and its tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from jobs.bench.contestants import Lap


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
    """Everything that was measured; goes into `bench.json` as it is.

    Attributes:
        of_encoder: images a second from tar to Parquet, as a share of the encoder alone's, by
            dtype.
        engine: what was measured of the engine, by what it is.
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
    """Tell how many times as fast one is as the other, by the laps of each round, run in turn."""
    return median(a.seconds / b.seconds for a, b in zip(slow, fast, strict=True))


def speed_table(report: BenchReport) -> Table:
    """Tabulate the speeds, a row a contestant."""
    width, height = report.machine["size"]
    table = _table(
        f"RN50, {width}x{height} JPEGs in a tar, {report.machine['device']}",
        ["", "images/s", "±", "crops/s", "speed", "MB", "off by", "peak"],
    )
    for entry in report.entries:
        table.add_row(
            entry.name,
            f"{entry.images_per_second:,.2f}",
            f"{(entry.fastest - entry.slowest) / 2 / entry.images_per_second:.0%}",
            f"{entry.crops_per_second:,.1f}",
            f"{entry.speedup:.2f}x",
            f"{entry.peak_bytes / 1e6:,.0f}",
            f"{entry.difference:.0e}" if entry.difference else "",
            "" if entry.of_peak is None else f"{entry.of_peak:.0%}",
        )
    lines = [
        f"{dtype}: from tar to Parquet at {share:.0%} of the encoder alone"
        for dtype, share in report.of_encoder.items()
    ]
    lines.append("MB: peak memory; peak: arithmetic, as a share of torch's matrix product")
    table.caption, table.caption_justify = "\n".join(lines), "left"
    return table


def stage_table(report: BenchReport) -> Table:
    """Tabulate in which stages contestants were busy; stages of Shardsift overlap."""
    stages = list(dict.fromkeys(stage for entry in report.entries for stage in entry.stages))
    table = _table("share of busy time", ["", *stages])
    timed = [entry for entry in report.entries if entry.stages]
    for entry in timed:
        total = sum(entry.stages.values())
        shares = (
            f"{entry.stages[stage] / total:.1%}" if stage in entry.stages else ""
            for stage in stages
        )
        table.add_row(entry.name, *shares)
    return table


def engine_table(report: BenchReport) -> Table:
    """Tabulate what the engine does with the model left out, and with two actors."""
    table = _table("engine", ["", ""])
    table.show_header = False
    for name, value in report.engine.items():
        table.add_row(name, f"{value:,.2f}")
    return table


def _table(title: str, columns: Sequence[str]) -> Table:
    """Make a table of a first column of names, and numbers in the others."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    return table
