"""A run from its first shard to its last, or to the signal that ends it early."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial

from shardsift.engine.actor import Task
from shardsift.engine.coordinator import Coordinator, Outcome
from shardsift.engine.interrupt import on_interrupt
from shardsift.engine.watch import Watch
from shardsift.outputs.folder import RunFolder
from shardsift.progress import Display
from shardsift.records import FailedShard

logger = logging.getLogger(__name__)


def drive(
    coordinator: Coordinator,
    tasks: Iterable[Task],
    watch: Watch,
    folder: RunFolder,
    record: Callable[[Outcome], None],
    display: Display,
) -> None:
    """Hand all tasks to the coordinator's actors, until each has an outcome or a signal ends it.

    Shows how far it has come, keeps `_failed/` of the output, and leaves nothing half-written.
    """
    try:
        with (
            on_interrupt(partial(_finish, coordinator, display)),
            display.watch(watch.look),
        ):
            for outcome in coordinator.run(tasks):
                watch.add(outcome)
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


def _finish(coordinator: Coordinator, display: Display) -> None:
    display.say("stopping: shards under way are finished first; once more stops at once")
    coordinator.finish()
