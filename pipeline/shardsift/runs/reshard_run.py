"""A reshard run: all shards of the plan that are not there yet, on Ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from shardsift.config.verb_settings import ReshardConfig
from shardsift.engine.coordinator import Outcome
from shardsift.engine.run_loop import RunResult
from shardsift.engine.run_progress import RunCounts
from shardsift.progress import Display
from shardsift.resharding.new_shard import ReshardInputs, ReshardReport, write_shard
from shardsift.resharding.packing import ReshardTask
from shardsift.resharding.prepare import Reshard, prepare
from shardsift.resharding.reshard_folder import ReshardSummary
from shardsift.runs.on_cpus import CpuSpec, run_on_cpus
from shardsift.storage.lease import check_free
from shardsift.text import byte_size, count


@dataclass
class CopyCounts(RunCounts):
    """Counts of a run that copies samples; its work is the bytes of new shards."""

    def add(self, outcome: Outcome) -> None:
        """Count a shard, its samples and bytes."""
        super().add(outcome)
        if isinstance(outcome, ReshardReport):
            self.count(items=outcome.samples, work=outcome.bytes)

    def notes(self, work_per_second: float | None) -> Sequence[str]:
        """Return the written bytes per second."""
        return [f"{byte_size(work_per_second)}/s"] if work_per_second else []


def copying(inputs: ReshardInputs, cpus: float) -> CpuSpec:
    """Describe an actor that writes shards."""
    return CpuSpec(do=partial(write_shard, inputs), cpus=cpus)


@dataclass(kw_only=True)
class ReshardResult(RunResult[CopyCounts]):
    """Result of a reshard.

    Attributes:
        url: the folder of the new shards.
        summary: content of its `_summary.json`; None unless all shards are there.
    """

    url: str
    summary: ReshardSummary | None = None


def reshard(config: ReshardConfig, display: Display) -> ReshardResult:
    """Write all shards of the plan that are not there yet.

    Raises:
        UserError: before anything is written but a probe and `_running.json`, which are removed.
        AnnotationError: if a file of the annotations or of the keep-list is damaged.
    """
    run = prepare(config, display.track)
    url = run.folder.url
    for shard in run.missing:
        display.say(f"{shard} was never scored, so none of its samples are kept")
    tasks = [task for task in run.plan if task.shard not in run.folder.committed]
    total = sum(task.bytes for task in tasks)
    result = ReshardResult(counts=CopyCounts(len(tasks), work_total=total), url=url)
    what = f"{run.plan.samples:,} samples in {count(len(run.plan), 'shard')}"
    if config.dry_run:
        if not config.force:
            check_free(url)
        size = byte_size(sum(task.bytes for task in run.plan))
        display.say(f"dry run: would write {what}, about {size}")
        return ReshardResult(counts=CopyCounts(0), url=url)
    if not tasks and run.folder.is_finished:
        display.say(f"nothing to do: {what} are in {url} already")
        result.summary = run.folder.read_summary()
        return result
    with run.folder.hold(force=config.force):
        reports = write_tars(run, tasks, result, display)
        if not result.interrupted and not result.counts.failed:
            result.summary = run.folder.finish(run.plan, reports)
    return result


def write_tars(
    run: Reshard,
    tasks: Sequence[ReshardTask],
    result: RunResult[CopyCounts],
    display: Display,
) -> list[ReshardReport]:
    """Have actors write these shards; return a report of each that was written."""
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
    return reports
