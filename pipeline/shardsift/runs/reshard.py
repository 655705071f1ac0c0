"""A reshard run: every tar of the plan that is not there yet, on Ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.filesize import decimal

from shardsift.engine.cluster import choose_actors, connected
from shardsift.engine.coordinator import Coordinator, Outcome
from shardsift.engine.drive import drive
from shardsift.engine.environment import is_joined
from shardsift.engine.fleet import RayFleet
from shardsift.engine.progress import Tally
from shardsift.records import FailedShard
from shardsift.reshard.packing import ReshardTask
from shardsift.reshard.prepare import Reshard
from shardsift.reshard.write import ReshardInputs, ReshardReport, write_shard
from shardsift.scoring.heap import keep_heap


@dataclass(frozen=True, kw_only=True, slots=True)
class CopyingSpec:
    """How to make an actor that writes tars."""

    inputs: ReshardInputs
    cpus: float
    gpus: float = 0
    overlaps: bool = False

    def make_work(self) -> Copying:
        """Make the work; nothing has to be loaded."""
        keep_heap()
        return Copying(self.inputs)


class Copying:
    """Writes a tar and commits it."""

    def __init__(self, inputs: ReshardInputs) -> None:
        self._inputs = inputs
        self._tars = 0

    def __call__(self, task: ReshardTask) -> ReshardReport:
        """Copy the samples of a tar. Raises ShardError."""
        report = write_shard(task, self._inputs)
        self._tars += 1
        return report

    def progress(self) -> int:
        """Count tars."""
        return self._tars


@dataclass
class CopyTally(Tally):
    """Counts of a run that copies samples."""

    samples: int = 0
    bytes: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count a tar, its samples and bytes."""
        super().add(outcome)
        if isinstance(outcome, ReshardReport):
            self.samples += outcome.samples
            self.bytes += outcome.bytes

    @property
    def numbers(self) -> Sequence[str]:
        """Samples, bytes, and their speed."""
        speed = decimal(round(self.bytes / max(self.seconds, 1e-9)))
        return [f"{self.samples:,} samples", decimal(self.bytes), f"{speed}/s"]


@dataclass(kw_only=True)
class ReshardResult:
    """What a run came to: counts, and the outcome of each tar."""

    tally: CopyTally
    reports: list[ReshardReport] = field(default_factory=list[ReshardReport])
    failed: list[FailedShard] = field(default_factory=list[FailedShard])

    def record(self, outcome: Outcome) -> None:
        """Keep what is told and summed up at the end."""
        if isinstance(outcome, FailedShard):
            self.failed.append(outcome)
        elif isinstance(outcome, ReshardReport):
            self.reports.append(outcome)


def write_tars(run: Reshard, tasks: Sequence[ReshardTask], console: Console) -> ReshardResult:
    """Let actors write the tars of these tasks."""
    if not tasks:  # an earlier run ended between its last tar and its summary
        return ReshardResult(tally=CopyTally(0))
    config = run.config
    with connected(config.address):
        fitting = choose_actors(
            config.actors, 0, config.cpus_per_actor, may_grow=is_joined(config.address)
        )
        run.folder.begin(run.intent, run.plan)
        result = ReshardResult(tally=CopyTally(len(tasks)))
        coordinator = Coordinator(
            RayFleet(CopyingSpec(inputs=run.inputs, cpus=config.cpus_per_actor)),
            min(fitting, len(tasks)),
            max_attempts=config.max_attempts,
            shard_timeout=config.shard_timeout,
            find_committed=run.folder.find_committed,
        )
        drive(
            coordinator, tasks, result.tally, run.folder, result.record, console, "writing shards"
        )
    return result
