"""A run from its first shard to its last, or to the signal that ends it early."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from threading import current_thread, main_thread
from time import monotonic
from types import FrameType
from typing import Any, Final, Generic, TypeVar

from shardsift.config import RayConfig
from shardsift.engine.actor import ActorSpec, ShardResult, Task
from shardsift.engine.coordinator import Coordinator
from shardsift.engine.fleet import RayFleet
from shardsift.engine.run_progress import RunCounts, RunProgress
from shardsift.outputs.run_folder import RunFolder
from shardsift.progress import Display
from shardsift.records import FailedShard

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def on_interrupt(finish: Callable[[], None]) -> Generator[None]:
    """Call `finish` at the first signal in the block, and raise KeyboardInterrupt at the next.

    Signal handlers are only set in the main thread, as Python requires.
    """
    if current_thread() is not main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def first(number: int, frame: FrameType | None) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.default_int_handler)
        finish()

    for number in _SIGNALS:
        signal.signal(number, first)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


logger: Final = logging.getLogger(__name__)


_FAILURES_KEPT = 20

CountsT = TypeVar("CountsT", bound=RunCounts)


@dataclass(kw_only=True)
class RunResult(Generic[CountsT]):
    """Result of a run: counts, the first shards that it gave up, and its number of actors."""

    counts: CountsT
    failed: list[FailedShard] = field(default_factory=list[FailedShard])
    actors: int = 0

    @property
    def interrupted(self) -> bool:
        """True if the run was stopped before its last shard."""
        return self.counts.shards < self.counts.shards_total


def run_tasks(
    tasks: Iterable[Task],
    spec: ActorSpec,
    config: RayConfig,
    folder: RunFolder,
    result: RunResult[Any],
    display: Display,
    *,
    doing: str,
    find_committed: Callable[[Any], ShardResult | None],
    record: Callable[[Any], object],
    stall_timeout: float = inf,
) -> None:
    """Have the actors of `result` do all tasks, until each has an outcome or a signal ends the run.

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
        result.actors,
        max_attempts=config.max_attempts,
        shard_timeout=config.shard_timeout,
        stall_timeout=stall_timeout,
        find_committed=find_committed,
    )
    progress = RunProgress(coordinator, result.counts, doing)

    def finish() -> None:
        display.say("stopping after the shards in progress; interrupt again to stop at once")
        coordinator.finish()

    try:
        with on_interrupt(finish), display.show_progress(progress.snapshot):
            for outcome in coordinator.run(tasks):
                progress.add(outcome)
                folder.guard()
                if isinstance(outcome, FailedShard):
                    folder.write_failed(outcome)
                    if len(result.failed) < _FAILURES_KEPT:
                        result.failed.append(outcome)
                    logger.warning("gave up %s after %d attempts", outcome.shard, outcome.attempts)
                else:
                    folder.forget_failed(outcome.shard)
                record(outcome)
    finally:
        coordinator.stop()
        result.counts.ended = monotonic()
    folder.sweep()
