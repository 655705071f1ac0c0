"""`shardsift ask`: new questions to a corpus that has embeddings, on Ray."""

from __future__ import annotations

from rich.console import Console

from shardsift.asking.ask_config import AskConfig
from shardsift.asking.prepare import Ask, prepare
from shardsift.cli.console import failure, tracking
from shardsift.cli.exit_codes import DONE, FAILED, INTERRUPTED
from shardsift.engine.progress import count
from shardsift.runs.ask import AskResult, answer
from shardsift.storage.lease import held

_FAILURES_SHOWN = 20


def run(config: AskConfig, console: Console) -> int:
    """Answer what isn't answered yet; return the exit code.

    Raises:
        UserError: before anything is written but a probe and `_running.json`, which are removed.
    """
    with tracking(console) as track:
        asked = prepare(config, track)
    if not asked.open_tasks and asked.folder.is_finished:
        shards = count(len(asked.tasks), "shard")
        console.print(
            f"nothing to do: {shards} answered already in {asked.folder.url}", soft_wrap=True
        )
        return DONE
    with held(asked.folder.url, force=config.force):
        return _finish(asked, answer(asked, console), console)


def _finish(asked: Ask, result: AskResult, console: Console) -> int:
    tally, where = result.tally, asked.folder.url
    if tally.shards:
        numbers = ", ".join([f"{tally.seconds:,.1f} s", *tally.numbers])
        shards = count(tally.shards - tally.failed, "shard")
        console.print(f"asked {shards}: {numbers}, into {where}", soft_wrap=True)
    for failed in result.failed[:_FAILURES_SHOWN]:
        console.print("failed", failure(failed.shard, failed.reason), soft_wrap=True)
    if left := tally.shards_total - tally.shards:
        console.print(f"stopped: the same command goes on with the other {count(left, 'shard')}")
        return INTERRUPTED
    if result.failed:
        console.print(
            f"{count(len(result.failed), 'shard')} failed, see {where}/_failed; the same command "
            "tries them again",
            soft_wrap=True,
        )
        return FAILED
    summary = asked.folder.finish(asked.tasks, result.reports)
    means = ", ".join(f"{name} {mean:.3f}" for name, mean in summary.means.items())
    console.print(f"means of {summary.answered:,} pictures: {means or 'none'}", soft_wrap=True)
    return DONE
