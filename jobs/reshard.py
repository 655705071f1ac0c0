"""`shardsift reshard`, also `python -m jobs.reshard`: write the clean corpus, on Ray."""

from __future__ import annotations

if __name__ == "__main__":  # before Ray is imported, which reads its environment then
    import sys

    from jobs.cli import main

    sys.exit(main(["reshard", *sys.argv[1:]]))

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape

from jobs.console import tracking
from jobs.engine.cluster import choose_actors, connected
from jobs.engine.coordinator import Coordinator, Outcome
from jobs.engine.drive import drive
from jobs.engine.fleet import RayFleet
from jobs.engine.progress import Tally, count
from jobs.environment import is_joined
from jobs.exit_codes import DONE, FAILED, INTERRUPTED
from pipeline.curation.reshard.plan import ReshardTask
from pipeline.curation.reshard.prepare import Reshard, prepare
from pipeline.curation.reshard.settings import ReshardConfig
from pipeline.curation.reshard.write import CopySettings, ReshardReport, write_shard
from pipeline.heap import keep_heap
from pipeline.lease import check_free, held
from pipeline.records import FailedShard
from pipeline.redaction import redact

_FAILURES_SHOWN = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class CopyingSettings:
    """How to make an actor that writes tars."""

    copy: CopySettings
    cpus: float
    gpus: float = 0

    def make_work(self) -> partial[ReshardReport]:
        """Nothing has to be loaded."""
        keep_heap()
        return partial(write_shard, settings=self.copy)


@dataclass(slots=True)
class CopyTally(Tally[ReshardReport]):
    """Counts of a run that copies samples."""

    samples: int = 0
    bytes: int = 0

    def add_report(self, report: ReshardReport) -> None:
        """Count samples and bytes."""
        self.samples += report.samples
        self.bytes += report.bytes

    @property
    def numbers(self) -> Sequence[str]:
        """Samples, bytes, and their speed."""
        speed = decimal(round(self.bytes / max(self.seconds, 1e-9)))
        return [f"{self.samples:,} samples", decimal(self.bytes), f"{speed}/s"]


@dataclass(kw_only=True)
class _Result:
    tally: CopyTally
    reports: list[ReshardReport] = field(default_factory=list[ReshardReport])
    failed: list[FailedShard] = field(default_factory=list[FailedShard])

    def record(self, outcome: Outcome[ReshardReport]) -> None:
        """Keep what is told and summed up at the end."""
        if isinstance(outcome, FailedShard):
            self.failed.append(outcome)
        else:
            self.reports.append(outcome)


def run_reshard(config: ReshardConfig, console: Console) -> int:
    """Write all tars of the plan that are not there yet; the exit code.

    Raises:
        UserError: before anything is written but a probe and `_running.json`, which are removed.
    """
    with tracking(console) as track:
        run = prepare(config, track)
    for shard in run.missing:
        console.print(f"nothing is kept of {shard}, which was never scored", soft_wrap=True)
    tasks = [task for task in run.plan if task.shard not in run.folder.committed]
    what = f"{run.plan.samples:,} samples in {count(len(run.plan), 'shard')}"
    if config.dry_run:
        if not config.force:
            check_free(run.folder.url)
        size = decimal(sum(task.bytes for task in run.plan))
        console.print(f"dry run: would write {what}, about {size}", soft_wrap=True)
        return DONE
    if not tasks and run.folder.is_finished:
        where = redact(run.folder.url)
        console.print(f"nothing to do: {what} are in {where} already", soft_wrap=True)
        return DONE
    with held(run.folder.url, force=config.force):
        result = _write(run, tasks, console)
        return _finish(run, result, console)


def _write(run: Reshard, tasks: Sequence[ReshardTask], console: Console) -> _Result:
    if not tasks:  # an earlier run ended between its last tar and its summary
        return _Result(tally=CopyTally(0))
    config = run.config
    with connected(config.address):
        fitting = choose_actors(
            config.actors, 0, config.cpus_per_actor, may_grow=is_joined(config.address)
        )
        run.folder.begin(run.record, run.plan)
        result = _Result(tally=CopyTally(len(tasks)))
        coordinator = Coordinator[ReshardReport](
            RayFleet(CopyingSettings(copy=run.copy, cpus=config.cpus_per_actor)),
            min(fitting, len(tasks)),
            max_attempts=config.max_attempts,
            shard_timeout=config.shard_timeout,
            find_committed=run.folder.find_committed,
        )
        drive(
            coordinator, tasks, result.tally, run.folder, result.record, console, "writing shards"
        )
    return result


def _finish(run: Reshard, result: _Result, console: Console) -> int:
    tally, where = result.tally, redact(run.folder.url)
    if tally.shards:
        numbers = ", ".join(tally.numbers)
        shards = count(tally.shards - tally.failed, "shard")
        console.print(f"wrote {shards}: {numbers}, into {where}", soft_wrap=True)
    for failed in result.failed[:_FAILURES_SHOWN]:
        reason = escape(failed.reason)
        console.print(f"[red]failed[/] {failed.shard}: {reason}", soft_wrap=True)
    if left := tally.shards_total - tally.shards:
        console.print(f"stopped: the same command goes on with the other {count(left, 'shard')}")
        return INTERRUPTED
    if result.failed:
        console.print(
            f"{count(len(result.failed), 'shard')} failed, see {where}/_failed; the same command "
            "tries them again, and writes sizes.json once all are there",
            soft_wrap=True,
        )
        return FAILED
    summary = run.folder.finish(run.plan, result.reports)
    if made := summary["json_made"]:
        console.print(f"{count(made, 'sample')} had no .json, and got one")
    if left := summary["json_left"]:
        console.print(f"{count(left, '.json')} left as they were: they hold no JSON object")
    return DONE
