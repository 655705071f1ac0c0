"""A run from its first shard to its last, or to the signal that ends it early."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial

from rich.console import Console

from shardsift.annotations.folder import RunFolder
from shardsift.engine.actor import Task
from shardsift.engine.coordinator import Coordinator, Outcome
from shardsift.engine.interrupt import on_interrupt
from shardsift.engine.progress import Tally, show_progress
from shardsift.records import FailedShard

logger = logging.getLogger(__name__)


def drive(
    coordinator: Coordinator,
    tasks: Iterable[Task],
    tally: Tally,
    folder: RunFolder,
    record: Callable[[Outcome], None],
    console: Console,
    verb: str,
) -> bool:
    """Hand all tasks to the coordinator's actors; return whether each has an outcome then.

    Shows how far it has come, keeps `_failed/` of the output, and leaves nothing half-written.
    """
    try:
        with (
            on_interrupt(partial(_finish, coordinator, console)),
            show_progress(console, verb, tally.shards_total) as show,
        ):
            for outcome in coordinator.run(tasks):
                tally.add(outcome)
                if isinstance(outcome, FailedShard):
                    folder.write_failed(outcome)
                    logger.warning("gave up %s after %d attempts", outcome.shard, outcome.attempts)
                else:
                    folder.forget_failed(outcome.shard)
                record(outcome)
                show(tally)
    finally:
        coordinator.stop()
    folder.sweep()
    return tally.shards == tally.shards_total


def _finish(coordinator: Coordinator, console: Console) -> None:
    console.print("stopping: shards under way are finished first; once more stops at once")
    coordinator.finish()
