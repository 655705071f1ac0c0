"""The end of a run on Ray, for people."""

from __future__ import annotations

from typing import Any

from shardsift.cli.console import DONE, FAILED, INTERRUPTED, PlainConsole, failure
from shardsift.engine.run_loop import RunResult
from shardsift.text import count


def report_end(result: RunResult[Any], where: str, console: PlainConsole, again: str = "") -> int:
    """Print the shards that failed and whether the run was stopped; return the exit code.

    `again` is what the same command does besides, once nothing fails any more.
    """
    counts = result.counts
    for failed in result.failed:
        console.print("failed", failure(failed.shard, failed.reason), soft_wrap=True)
    if counts.failed:
        console.say(
            f"{count(counts.failed, 'shard')} failed, see {where}/_failed; the same command "
            f"tries them again{again}"
        )
    if result.interrupted:
        left = counts.shards_total - counts.shards
        console.say(f"stopped: the same command goes on with the other {count(left, 'shard')}")
        return INTERRUPTED
    return FAILED if counts.failed else DONE
