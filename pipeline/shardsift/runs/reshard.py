"""A reshard run: every tar of the plan that is not there yet, on Ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from shardsift.engine.coordinator import Outcome
from shardsift.engine.progress import RunCounts
from shardsift.engine.run_loop import RunResult
from shardsift.progress import Display
from shardsift.reshard.packing import ReshardTask
from shardsift.reshard.prepare import Reshard
from shardsift.reshard.write import ReshardInputs, ReshardReport, write_shard
from shardsift.runs.on_cpus import CpuSpec, run_on_cpus
from shardsift.text import byte_size


@dataclass
class CopyCounts(RunCounts):
    """Counts of a run that copies samples; its work is the bytes of new tars."""

    def add(self, outcome: Outcome) -> None:
        """Count a tar, its samples and bytes."""
        super().add(outcome)
        if isinstance(outcome, ReshardReport):
            self.items += outcome.samples
            self.work += outcome.bytes

    def notes(self, work_per_second: float | None) -> Sequence[str]:
        """Return how many bytes are written a second."""
        return [f"{byte_size(work_per_second)}/s"] if work_per_second else []


def copying(inputs: ReshardInputs, cpus: float) -> CpuSpec:
    """Describe an actor that writes tars."""
    return CpuSpec(do=partial(write_shard, inputs), cpus=cpus)


def write_tars(
    run: Reshard, tasks: Sequence[ReshardTask], display: Display
) -> tuple[RunResult[CopyCounts], list[ReshardReport]]:
    """Have actors write the tars of these tasks."""
    total = sum(task.bytes for task in tasks)
    result = RunResult(counts=CopyCounts(len(tasks), work_total=total))
    reports: list[ReshardReport] = []
    run_on_cpus(
        tasks,
        copying(replace(run.inputs, lease=run.folder.lease), run.config.cpus_per_actor),
        result,
        run.config,
        run.folder,
        display,
        doing="writing shards",
        begin=partial(run.folder.begin, run.intent, run.plan),
        find_committed=run.folder.find_committed,
        record=reports.append,
    )
    return result, reports
