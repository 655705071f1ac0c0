"""`shardsift reshard`: write the clean corpus, on Ray."""

from __future__ import annotations

from collections.abc import Sequence

from shardsift.cli.console import DONE, PlainConsole
from shardsift.cli.outcome import report_end
from shardsift.config.verbs import ReshardConfig
from shardsift.reshard.packing import ReshardTask
from shardsift.reshard.prepare import Reshard, prepare
from shardsift.runs.reshard import write_tars
from shardsift.storage.lease import check_free
from shardsift.text import byte_size, count


def run(config: ReshardConfig, console: PlainConsole) -> int:
    """Write all tars of the plan that are not there yet; return the exit code.

    Raises:
        UserError: before anything is written but a probe and `_running.json`, which are removed.
    """
    prepared = prepare(config, console.track)
    for shard in prepared.missing:
        console.say(f"nothing is kept of {shard}, which was never scored")
    tasks = [task for task in prepared.plan if task.shard not in prepared.folder.committed]
    what = f"{prepared.plan.samples:,} samples in {count(len(prepared.plan), 'shard')}"
    if config.dry_run:
        if not config.force:
            check_free(prepared.folder.url)
        size = byte_size(sum(task.bytes for task in prepared.plan))
        console.say(f"dry run: would write {what}, about {size}")
        return DONE
    if not tasks and prepared.folder.is_finished:
        where = prepared.folder.url
        console.say(f"nothing to do: {what} are in {where} already")
        return DONE
    with prepared.folder.hold(force=config.force):
        return _finish(prepared, tasks, console)


def _finish(prepared: Reshard, tasks: Sequence[ReshardTask], console: PlainConsole) -> int:
    result, reports = write_tars(prepared, tasks, console)
    counts = result.counts
    where = prepared.folder.url
    if counts.shards:
        speed = byte_size(counts.work / max(counts.seconds, 1e-9))
        console.say(
            f"wrote {count(counts.shards - counts.failed, 'shard')}: {counts.items:,} samples, "
            f"{byte_size(counts.work)}, {speed}/s, into {where}"
        )
    again = ", and writes sizes.json once all are there"
    if code := report_end(result, where, console, again):
        return code
    summary = prepared.folder.finish(prepared.plan, reports)
    if made := summary.json_made:
        console.say(f"{count(made, 'sample')} had no .json, and got one")
    if left := summary.json_left:
        console.say(f"{count(left, '.json')} left as they were: they hold no JSON object")
    if split := summary.split:
        console.say(
            f"{count(split, 'sample')} lost files, such as captions, that don't stand beside their "
            "image in the source: pack its tars in order (tar --sort=name), score and filter again"
        )
    console.suggest("verify", prepared.folder.url)
    return DONE
