"""`shardsift reshard`: write the clean corpus, on Ray."""

from __future__ import annotations

from rich.console import Console
from rich.filesize import decimal

from shardsift.cli.console import failure, tracking
from shardsift.cli.exit_codes import DONE, FAILED, INTERRUPTED
from shardsift.engine.progress import count
from shardsift.reshard.prepare import Reshard, prepare
from shardsift.reshard.reshard_config import ReshardConfig
from shardsift.runs.reshard import ReshardResult, write_tars
from shardsift.storage.lease import check_free, held

_FAILURES_SHOWN = 20


def run(config: ReshardConfig, console: Console) -> int:
    """Write all tars of the plan that are not there yet; return the exit code.

    Raises:
        UserError: before anything is written but a probe and `_running.json`, which are removed.
    """
    with tracking(console) as track:
        prepared = prepare(config, track)
    for shard in prepared.missing:
        console.print(f"nothing is kept of {shard}, which was never scored", soft_wrap=True)
    tasks = [task for task in prepared.plan if task.shard not in prepared.folder.committed]
    what = f"{prepared.plan.samples:,} samples in {count(len(prepared.plan), 'shard')}"
    if config.dry_run:
        if not config.force:
            check_free(prepared.folder.url)
        size = decimal(sum(task.bytes for task in prepared.plan))
        console.print(f"dry run: would write {what}, about {size}", soft_wrap=True)
        return DONE
    if not tasks and prepared.folder.is_finished:
        where = prepared.folder.url
        console.print(f"nothing to do: {what} are in {where} already", soft_wrap=True)
        return DONE
    with held(prepared.folder.url, force=config.force):
        result = write_tars(prepared, tasks, console)
        return _finish(prepared, result, console)


def _finish(prepared: Reshard, result: ReshardResult, console: Console) -> int:
    tally, where = result.tally, prepared.folder.url
    if tally.shards:
        numbers = ", ".join(tally.numbers)
        shards = count(tally.shards - tally.failed, "shard")
        console.print(f"wrote {shards}: {numbers}, into {where}", soft_wrap=True)
    for failed in result.failed[:_FAILURES_SHOWN]:
        console.print("failed", failure(failed.shard, failed.reason), soft_wrap=True)
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
    summary = prepared.folder.finish(prepared.plan, result.reports)
    if made := summary.json_made:
        console.print(f"{count(made, 'sample')} had no .json, and got one")
    if left := summary.json_left:
        console.print(f"{count(left, '.json')} left as they were: they hold no JSON object")
    return DONE
