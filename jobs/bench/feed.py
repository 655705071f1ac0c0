"""Laps of one commit, or of two in turn, and their table."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, cast, get_args

from pydantic import Field
from rich.console import Console
from rich.table import Table

from jobs.bench.corpus import write_shard
from jobs.bench.harness import Measurement, table, widen
from shardsift.config import CropPlan
from shardsift.errors import InputError


class FeedConfig(Measurement):
    """Settings of `feed`: commits, pictures, laps."""

    against: str | None = Field(
        default=None, description="a commit to measure beside this checkout, lap by lap in turn"
    )
    rounds: int = Field(default=3, ge=1, description="laps of each; the table has medians")
    seconds: float = Field(default=3.0, gt=0, description="of a lap")
    workers: int = Field(default=2, ge=1, description="how many decode at a time")
    sizes: tuple[str, ...] = Field(
        default=("128x96", "512x384", "1024x768"), description="of the pictures; may be repeated"
    )
    plans: tuple[CropPlan, ...] = Field(
        default=get_args(CropPlan),
        description="crop plans; may be repeated",
    )


HERE = Path(__file__).parents[2]

_HERE_NAME = "here"
_NAME_SHOWN = 8
_QUALITY = 75
_PIXELS = 120_000_000
_FEWEST, _MOST = 1_000, 10_000
"""Pixels of a shard, which decide its number of pictures."""

Lap = Mapping[str, Any]
"""A `FeedLap` as JSON; its fields may differ between commits."""


class Course(NamedTuple):
    """Input of a lap."""

    size: str
    plan: str


def measure(config: FeedConfig, console: Console) -> None:
    """Measure, print a table, write `feed.json`.

    Raises:
        InputError: if the commit isn't there, or can't measure this.
    """
    courses = [Course(*course) for course in product(config.sizes, config.plans)]
    laps: dict[Course, dict[str, list[Lap]]] = {course: {} for course in courses}
    with tempfile.TemporaryDirectory() as scratch, console.status("making pictures") as status:
        trees = {_HERE_NAME: HERE}
        if config.against:
            trees[config.against] = check_out(config.against, Path(scratch, "commit"))
        shards = {size: _write_shard(Path(scratch), size) for size in config.sizes}
        for number, course in product(range(config.rounds), courses):
            for name, tree in trees.items():
                status.update(f"lap {number + 1} of {config.rounds}: {' '.join(course)}, {name}")
                lap = run_lap(tree, shards[course.size], course.plan, config)
                laps[course].setdefault(name, []).append(lap)
    widen(console)
    medians = {
        course: {name: _median(each) for name, each in own.items()} for course, own in laps.items()
    }
    console.print(_feed_table(medians, config))
    config.write("feed", list(_as_json(laps, medians)), console)


def check_out(commit: str, folder: Path) -> Path:
    """Unpack the files of a commit. Raises InputError."""
    packed = subprocess.run(
        ["git", "-C", str(HERE), "archive", commit], capture_output=True, check=False
    )
    if packed.returncode:
        raise InputError(f"--against {commit}: {packed.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def run_lap(tree: Path, shard: Path, plan: str, config: FeedConfig) -> Lap:
    """Run a lap of the code in a folder, in a new process. Raises InputError."""
    options = ["--plan", plan, "--workers", config.workers, "--seconds", config.seconds]
    done = subprocess.run(
        [sys.executable, "-m", "jobs.bench.feed_lap", str(shard), *map(str, options)],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": f"{tree / 'pipeline'}{os.pathsep}{tree}"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise InputError(f"{tree}: its lap failed: {done.stderr.strip()[-500:]}")
    return cast(Lap, json.loads(done.stdout))


def _feed_table(medians: Mapping[Course, Mapping[str, Lap]], config: FeedConfig) -> Table:
    """Tabulate the cost of a picture, and the most pictures a second of one process."""
    rows: list[list[str]] = []
    for course, own in medians.items():
        base = own[config.against or _HERE_NAME]["images_per_second"]
        for name, lap in own.items():
            alone, locked, speed = lap["alone"], lap["locked"], lap["images_per_second"]
            rows.append(
                [
                    " ".join(course),
                    name[:_NAME_SHOWN],
                    *(f"{speed:,.0f}", f"{speed / base:.2f}"),
                    *(f"{lap['cpu']:,.0f}", f"{lap['feeder']:,.0f}"),
                    *(("", "") if not locked else (f"{locked:.0%}", f"{speed / locked:,.0f}")),
                    *(f"{alone[stage]:,.0f}" for stage in ("read", "decode", "rows")),
                    f"{lap['operations']:.1f}",
                ]
            )
    names = ["pictures/s", "times", "all", "feeder", "lock", "most/s", "read", "decode", "rows"]
    return table(
        f"an actor whose model costs nothing, {config.workers} decode, µs of CPU a picture",
        ["pictures", "code", *names, "ops"],
        rows,
        names=(0, 1),
        caption="lock: share of the time in which a thread of the actor's process held the "
        "interpreter lock; most: pictures a second if one always did\n"
        "read, decode, rows: each by itself in one thread; ops: torch's, to pack the crops",
    )


def _write_shard(folder: Path, size: str) -> Path:
    width, height = map(int, size.split("x"))
    images = max(_FEWEST, min(_MOST, _PIXELS // (width * height)))
    return write_shard(folder / f"{size}.tar", images, width, height, _QUALITY)


def _median(laps: Sequence[Lap]) -> Lap:
    """Take the median of each number, also of those within."""
    first = laps[0]
    found: dict[str, Any] = {}
    for key, value in first.items():
        values = [lap[key] for lap in laps]
        if isinstance(value, Mapping):
            found[key] = _median(values)
        else:
            found[key] = None if None in values else median(values)
    return found


def _as_json(
    laps: Mapping[Course, Mapping[str, Sequence[Lap]]],
    medians: Mapping[Course, Mapping[str, Lap]],
) -> Iterator[dict[str, Any]]:
    for course, own in laps.items():
        for name, each in own.items():
            median_lap = medians[course][name]
            yield {**course._asdict(), "code": name, "median": median_lap, "laps": list(each)}
