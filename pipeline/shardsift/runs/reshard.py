"""A reshard run: every tar of the plan that is not there yet, on Ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from rich.console import Console
from rich.filesize import decimal

from shardsift.engine.coordinator import Outcome
from shardsift.engine.progress import Tally
from shardsift.reshard.packing import ReshardTask
from shardsift.reshard.prepare import Reshard
from shardsift.reshard.write import ReshardInputs, ReshardReport, write_shard
from shardsift.runs.on_cpus import CpuResult, CpuSpec, run_on_cpus


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


def copying(inputs: ReshardInputs, cpus: float) -> CpuSpec:
    """Tell how to make an actor that writes tars."""
    return CpuSpec(do=partial(write_shard, inputs=inputs), cpus=cpus)


def write_tars(run: Reshard, tasks: Sequence[ReshardTask], console: Console) -> CpuResult:
    """Let actors write the tars of these tasks."""
    if not tasks:  # an earlier run ended between its last tar and its summary
        return CpuResult(tally=CopyTally(0))
    return run_on_cpus(
        tasks,
        copying(run.inputs, run.config.cpus_per_actor),
        CopyTally(len(tasks)),
        run.config,
        run.folder,
        console,
        verb="writing shards",
        begin=partial(run.folder.begin, run.intent, run.plan),
        find_committed=run.folder.find_committed,
    )
