"""How a run on CPU cores went, for people."""

from __future__ import annotations

from collections.abc import Sequence

from shardsift.cli.console import PlainConsole, failure
from shardsift.cli.exit_codes import DONE, FAILED, INTERRUPTED
from shardsift.runs.on_cpus import CpuResult
from shardsift.text import count

_FAILURES_SHOWN = 20


def tell(
    result: CpuResult,
    did: str,
    numbers: Sequence[str],
    where: str,
    console: PlainConsole,
    again: str = "",
) -> int:
    """Tell what was done, as `wrote`, where it lies, and what failed; return the exit code.

    `numbers` say how much it was, and how fast; `again` is what the same command does besides, once
    nothing fails any more.
    """
    counts = result.counts
    if counts.shards:
        shards = count(counts.shards - counts.failed, "shard")
        console.say(f"{did} {shards}: {', '.join(numbers)}, into {where}")
    for failed in result.failed[:_FAILURES_SHOWN]:
        console.print("failed", failure(failed.shard, failed.reason), soft_wrap=True)
    if left := counts.shards_total - counts.shards:
        console.say(f"stopped: the same command goes on with the other {count(left, 'shard')}")
        return INTERRUPTED
    if result.failed:
        console.say(
            f"{count(len(result.failed), 'shard')} failed, see {where}/_failed; the same command "
            f"tries them again{again}"
        )
        return FAILED
    return DONE
