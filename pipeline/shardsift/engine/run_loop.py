"""A run from its first shard to its last, or to the signal that ends it early."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from math import inf
from typing import Any

from shardsift.config import RayConfig
from shardsift.engine.actor import ActorSpec, Report, Task
from shardsift.engine.coordinator import Coordinator, Outcome
from shardsift.engine.fleet import RayFleet
from shardsift.engine.interrupt import on_interrupt
from shardsift.engine.progress import RunCounts, RunProgress
from shardsift.outputs.folder import RunFolder
from shardsift.progress import Display
from shardsift.records import FailedShard

logger = logging.getLogger(__name__)


def run_tasks(
    tasks: Iterable[Task],
    spec: ActorSpec,
    actors: int,
    config: RayConfig,
    folder: RunFolder,
    counts: RunCounts,
    display: Display,
    *,
    doing: str,
    find_committed: Callable[[Any], Report | None],
    record: Callable[[Outcome], None],
    stall_timeout: float = inf,
) -> None:
    """Have actors do all tasks, until each has an outcome or a signal ends the run.

    Displays and counts its progress, keeps `_failed/` of the output, and leaves nothing
    half-written.

    Args:
        doing: the work, for people, as in `scoring`.
        find_committed: finds the result of a task whose actor died before it replied.
        record: is given the outcome of each task.
        stall_timeout: seconds in which an actor's progress has to grow.
    """
    coordinator = Coordinator(
        RayFleet(spec),
        actors,
        max_attempts=config.max_attempts,
        shard_timeout=config.shard_timeout,
        stall_timeout=stall_timeout,
        find_committed=find_committed,
    )
    progress = RunProgress(coordinator, counts, doing)

    def finish() -> None:
        display.say("stopping: shards under way are finished first; once more stops at once")
        coordinator.finish()

    try:
        with on_interrupt(finish), display.watch(progress.look):
            for outcome in coordinator.run(tasks):
                progress.add(outcome)
                folder.guard()
                if isinstance(outcome, FailedShard):
                    folder.write_failed(outcome)
                    logger.warning("gave up %s after %d attempts", outcome.shard, outcome.attempts)
                else:
                    folder.forget_failed(outcome.shard)
                record(outcome)
    finally:
        coordinator.stop()
    folder.sweep()
