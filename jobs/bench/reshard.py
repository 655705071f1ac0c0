"""`python -m jobs.bench reshard KEPT --scratch DIR`: new tars beside `cp` of the same bytes.

Lap by lap in turn, on actors that are ready, on the disk of the scratch folder.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated

import typer

from shardsift.config.verb_settings import ReshardConfig
from shardsift.engine.cluster import connected
from shardsift.engine.coordinator import Coordinator
from shardsift.engine.environment import prepare_ray
from shardsift.engine.fleet import RayFleet
from shardsift.records import FailedShard
from shardsift.resharding.prepare import Reshard, prepare
from shardsift.runs.reshard_run import copying

_CACHES = Path("/proc/sys/vm/drop_caches")


class Race:
    """The tars of one plan, written by actors, and copied by `cp`."""

    def __init__(self, config: ReshardConfig, scratch: Path, actors: int, *, cold: bool) -> None:
        self._config = config
        self._ours, self._copy = scratch / "ours", scratch / "copy"
        self._reference = scratch / "reference"
        self._actors = actors
        self._cold = cold
        self._coordinator: Coordinator | None = None

    def write(self) -> float:
        """Write all tars as the actors do, synced to disk; return the seconds."""
        shutil.rmtree(self._ours, ignore_errors=True)
        run = prepare(self._config.model_copy(update={"output": str(self._ours)}))
        run.folder.begin(run.intent, run.plan)
        coordinator = self._ready(run)
        self._rest()
        started = perf_counter()
        outcomes = list(coordinator.run(run.plan))
        took = perf_counter() - started
        if failed := [each for each in outcomes if isinstance(each, FailedShard)]:
            raise RuntimeError(failed[0].reason)
        return took

    def keep_as_reference(self) -> int:
        """Keep the tars that were written last for `cp` to copy; return their bytes."""
        self._reference.mkdir()
        tars = list(self._ours.glob("*.tar"))
        return sum(tar.rename(self._reference / tar.name).stat().st_size for tar in tars)

    def copy(self) -> tuple[float, float]:
        """Time `cp` without and with a sync, in seconds."""
        shutil.rmtree(self._copy, ignore_errors=True)
        self._rest()
        started = perf_counter()
        subprocess.run(["cp", "-r", str(self._reference), str(self._copy)], check=True)
        copied = perf_counter() - started
        subprocess.run(["sync", "-f", str(self._copy)], check=True)
        return copied, perf_counter() - started

    def close(self) -> None:
        """Release the actors, delete the tars."""
        if self._coordinator:
            self._coordinator.stop()
        for folder in (self._ours, self._copy, self._reference):
            shutil.rmtree(folder, ignore_errors=True)

    def _ready(self, run: Reshard) -> Coordinator:
        if self._coordinator is None:
            self._coordinator = Coordinator(
                RayFleet(copying(run.inputs, cpus=1)),
                self._actors,
                max_attempts=1,
                shard_timeout=3600,
                find_committed=lambda _: None,
            )
            while len(self._coordinator.places) < self._actors:
                list(self._coordinator.run(run.plan))
        return self._coordinator

    def _rest(self) -> None:
        subprocess.run(["sync"], check=True)
        if self._cold:
            _CACHES.write_text("3")


def measure(
    kept: Annotated[str, typer.Argument(help="The --output of filter, on disk.")],
    scratch: Annotated[Path, typer.Option(help="A folder that isn't there yet, on the same disk.")],
    actors: Annotated[int, typer.Option(help="Number of actors.")] = 2,
    laps: Annotated[int, typer.Option(help="Laps of each.")] = 5,
    samples_per_shard: Annotated[int, typer.Option(help="Samples in a tar.")] = 5000,
    cold: Annotated[bool, typer.Option("--cold", help="Empty the page cache first, as root.")] = (
        False
    ),
) -> None:
    """Print MB/s of kept bytes, lap by lap, and the medians of the ratios."""
    scratch.mkdir(parents=True)
    config = ReshardConfig(keep=kept, samples_per_shard=samples_per_shard)
    race = Race(config, scratch, actors, cold=cold)
    ratios: list[tuple[float, float]] = []
    prepare_ray()
    with connected(None):
        race.write()
        size = race.keep_as_reference()
        _say(f"{size / 1e9:.2f} GB of kept bytes, {actors} actors", [])
        for _ in range(laps):
            copied, synced = race.copy()
            ours = race.write()
            ratios.append((copied / ours, synced / ours))
            _say("MB/s: cp, cp and sync, ours", [size / t / 1e6 for t in (copied, synced, ours)])
        race.close()
    _say("median ratio to cp, to cp and sync", [median(r) for r in zip(*ratios, strict=True)])
    scratch.rmdir()


def _say(what: str, numbers: Sequence[float]) -> None:
    sys.stdout.write(f"{what}  {'  '.join(f'{number:.4g}' for number in numbers)}\n")
    sys.stdout.flush()
