"""Hands shards to actors, and retries those that a failure stopped.

Each actor has a slot: its handle and the shards under way in it. After a failure, an actor has to
answer a call before it gets work again (`ActorStarter`). An attempt counts for a shard if only this
shard can have caused the failure: for the oldest one of a slot, because the others wait in the
actor's queue; or if calls of the actor overlap, for the only one in it. If several shards were
running, no attempt counts, and each is tried again alone in an actor.

The coordinator's work for an answer doesn't grow with the number of actors; that of `ray.wait`
does.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from math import inf
from typing import Any, Final, cast

from shardsift.engine.actor import IN_FLIGHT, Place, ShardResult, ShardTrouble, Task
from shardsift.engine.fleet import ActorFailure, Answer, Call, Fleet
from shardsift.engine.slots import PAUSES, ActorSlot, ActorStarter, FailedAttempt, Stage
from shardsift.progress import ActorProgress
from shardsift.records import FailedShard

Outcome = ShardResult | FailedShard

RETRY_PAUSE_SECONDS = 5.0

_TICK_SECONDS = 1.0
_READY_PATIENCE_SECONDS = 30.0
_SILENCE_SECONDS = 60.0
_ARRIVAL_SECONDS = 10.0
_UNSEEN_SECONDS = 30.0
"""Seconds that the caller may take to record an outcome, as on a slow store."""

logger: Final = logging.getLogger(__name__)


class Coordinator:
    """Hands out the shards of a run until each has an outcome."""

    def __init__(
        self,
        fleet: Fleet,
        actors: int,
        *,
        max_attempts: int,
        shard_timeout: float,
        find_committed: Callable[[Any], ShardResult | None],
        stall_timeout: float = inf,
        start_pauses: Sequence[float] = PAUSES,
        retry_pause: float = RETRY_PAUSE_SECONDS,
    ) -> None:
        """Ask for `actors` actors.

        Args:
            max_attempts: tries of a shard.
            shard_timeout: seconds for one shard.
            find_committed: asked before a shard is tried again: an actor may have died between the
                commit and its answer.
            stall_timeout: seconds in which an actor's progress has to grow while it works.
            start_pauses: seconds before each further start of an actor that can't start.
            retry_pause: seconds before another try of a shard whose trouble may pass, as a full
                disk; doubled with each.
        """
        self._fleet = fleet
        self._max_attempts = max_attempts
        self._shard_timeout = shard_timeout
        self._stall_timeout = stall_timeout
        self._find_committed = find_committed
        self._starter = ActorStarter(fleet, actors, start_pauses)
        self._waiting: Iterator[Task] = iter(())
        self._upcoming: Task | None = None
        self._retries: deque[Task] = deque()
        self._retry_pause = retry_pause
        self._paused: list[tuple[float, Task]] = []  # due time and task
        self._to_run_alone: deque[Task] = deque()  # tasks to be tried in an actor of their own
        self._begun = 0  # shards taken from the run's list that have no outcome yet
        self._attempts: dict[str, int] = {}
        self._finishing = False
        self.progress: Mapping[Place, ActorProgress] = {}
        self._last_look = self._last_ready = fleet.now()
        self._awaited: dict[Call, ActorSlot] = {}
        self._starting: set[ActorSlot] = set()  # slots that will soon take work
        self._free: tuple[dict[ActorSlot, None], ...] = tuple({} for _ in range(IN_FLIGHT))
        self._slots = [self._new_slot() for _ in range(actors)]

    @property
    def places(self) -> list[Place]:
        """Locations of the actors that are ready for work."""
        return [slot.place for slot in self._slots if slot.place and slot.stage is Stage.READY]

    @property
    def working(self) -> int:
        """Number of actors that have work in hand. Other threads may read it."""
        return sum(slot.stage is Stage.READY and bool(slot.under_way) for slot in self._slots)

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Yield an outcome for each task, in the order in which they arrive.

        Raises:
            EngineError: if no actor can start, or none that could is left.
        """
        self._waiting = iter(tasks)
        self._upcoming = next(self._waiting, None)
        while self._has_work():
            for outcome in self._step():
                self._begun -= 1
                yield outcome

    def finish(self) -> None:
        """Begin no more shards: `run` ends once those that are under way have an outcome.

        Safe to call from a signal handler.
        """
        self._finishing = True

    def stop(self) -> None:
        """Release the actors; a shard under way is left uncommitted."""
        for slot in self._slots:
            self._fleet.stop(slot.actor)

    def _has_work(self) -> bool:
        if self._finishing:
            return any(slot.under_way for slot in self._slots)
        return self._begun > 0 or self._upcoming is not None

    def _step(self) -> Iterator[Outcome]:
        self._drop_queued() if self._finishing else self._hand_out()
        for call in self._fleet.wait(self._awaited.keys(), _TICK_SECONDS):
            slot, answer = self._awaited[call], self._fleet.answer(call)
            hear = self._on_shard if slot.stage is Stage.READY else self._on_start
            outcomes = list(hear(slot, answer))
            self._index_slot(slot)
            yield from outcomes
        elapsed = self._fleet.now() - self._last_look
        if elapsed >= _TICK_SECONDS:
            self._last_look += elapsed
            yield from self._check_slots(elapsed)

    # --- work out --------------------------------------------------------------------------------

    def _hand_out(self) -> None:
        now = self._fleet.now()
        self._retries.extend(task for due, task in self._paused if due <= now)
        self._paused = [(due, task) for due, task in self._paused if due > now]
        while self._free[0] and self._to_run_alone:
            slot = next(iter(self._free[0]))
            slot.runs_alone = True
            self._submit(slot, self._to_run_alone.popleft())
        for free in self._free:  # every slot gets one shard before any gets a second
            # As many slots as there are shards to run alone get no second one, and are soon empty.
            reserved = 0 if free is self._free[0] else len(self._to_run_alone)
            while len(free) > reserved and (task := self._next_task()):
                self._submit(next(islice(free, reserved, None)), task)
            if self._starting:  # if shards are few, the first actor mustn't take two
                return

    def _next_task(self) -> Task | None:
        if self._retries:
            return self._retries.popleft()
        task = self._upcoming
        if task is not None:
            self._upcoming = next(self._waiting, None)
            self._begun += 1
        return task

    def _submit(self, slot: ActorSlot, task: Task) -> None:
        if not slot.under_way:
            slot.oldest_since = self._fleet.now()
            slot.progress_since = slot.oldest_since
        slot.under_way.append((self._fleet.process(slot.actor, task), task))
        self._index_slot(slot)

    def _drop_queued(self) -> None:
        """Forget the shards that wait in actors; if one is committed nevertheless, it counts."""
        for slot in self._slots:
            while len(slot.under_way) > 1:
                slot.under_way.pop()

    def _index_slot(self, slot: ActorSlot) -> None:
        """Look the slot up by its awaited call and its free places; after every change of it."""
        if slot.awaited is not None:
            del self._awaited[slot.awaited]
        for free in self._free:
            free.pop(slot, None)
        is_open = slot.stage is Stage.READY
        slot.awaited = slot.under_way[0][0] if is_open and slot.under_way else slot.start_call
        if slot.awaited is not None:
            self._awaited[slot.awaited] = slot
        if is_open:
            slot.runs_alone &= bool(slot.under_way)
            if len(slot.under_way) < IN_FLIGHT and not slot.runs_alone:
                self._free[len(slot.under_way)][slot] = None
        is_new = self._fleet.now() - slot.since < _ARRIVAL_SECONDS
        if slot.stage is Stage.LOADING or (slot.stage is Stage.PENDING and is_new):
            self._starting.add(slot)
        else:
            self._starting.discard(slot)

    def _new_slot(self) -> ActorSlot:
        slot = ActorSlot(None)
        self._starter.start(slot)
        self._index_slot(slot)
        return slot

    # --- answers in ------------------------------------------------------------------------------

    def _on_shard(self, slot: ActorSlot, answer: Answer) -> Iterator[Outcome]:
        if isinstance(answer, ActorFailure):
            self._take_work_from(slot, answer.reason, preempted=answer.preempted)
            self._starter.recover(slot, answer)
            return
        _, task = slot.under_way.popleft()
        slot.oldest_since = self._fleet.now()
        slot.progress_since = slot.oldest_since
        if isinstance(answer, ShardTrouble):
            yield from self._count_attempt(
                task, answer.reason, self._retries, may_pass=answer.may_pass
            )
        else:
            yield cast(ShardResult, answer)  # a shard's call has no other answer

    def _on_start(self, slot: ActorSlot, answer: Answer) -> Iterator[Outcome]:
        self._starter.on_answer(slot, answer)
        if slot.stage is not Stage.PENDING:
            yield from self._settle_failures(slot)

    # --- failures --------------------------------------------------------------------------------

    def _take_work_from(self, slot: ActorSlot, reason: str, *, preempted: bool = False) -> None:
        """Take all work from a slot: shards that ran become failed attempts, others are retried."""
        tasks = [task for _, task in slot.under_way]
        slot.under_way.clear()
        ran = len(tasks) if self._fleet.overlaps else 1
        forgotten = self._fleet.overlaps and self._finishing  # another shard may have run beside it
        slot.failed_attempts = [
            FailedAttempt(
                task=task,
                was_alone=ran == 1 and not forgotten,
                reason=reason,
                preempted=preempted,
                node_id=slot.place and slot.place.node_id,
                since=self._fleet.now(),
            )
            for task in tasks[:ran]
        ]
        names = " and ".join(task.shard for task in tasks[:ran])
        logger.warning("an actor failed at %s: %s", names, reason)
        self._retries.extend(tasks[ran:])

    def _settle_failures(self, slot: ActorSlot) -> Iterator[Outcome]:
        """Retry the shards of the slot's failed attempts, or count an attempt, or give them up."""
        attempts, slot.failed_attempts = slot.failed_attempts, []
        for failed in attempts:
            if report := self._find_committed(failed.task):
                yield report
            elif failed.preempted or failed.node_id not in self._fleet.live_nodes():
                self._retries.append(failed.task)
            elif not failed.was_alone:
                self._to_run_alone.append(failed.task)
            else:
                queue = self._to_run_alone if self._fleet.overlaps else self._retries
                yield from self._count_attempt(failed.task, failed.reason, queue)

    def _count_attempt(
        self, task: Task, reason: str, queue: deque[Task], *, may_pass: bool = False
    ) -> Iterator[FailedShard]:
        attempts = self._attempts.pop(task.shard, 0) + 1
        if attempts >= self._max_attempts:
            yield FailedShard(shard=task.shard, url=task.url, reason=reason, attempts=attempts)
            return
        logger.info("%s: attempt %d failed: %s", task.shard, attempts, reason)
        self._attempts[task.shard] = attempts
        if may_pass:
            due = self._fleet.now() + self._retry_pause * 2 ** (attempts - 1)
            self._paused.append((due, task))
        else:
            queue.append(task)

    # --- every second ----------------------------------------------------------------------------

    def _check_slots(self, elapsed: float) -> Iterator[Outcome]:
        """End calls that take too long, restart actors after a pause, settle old failures.

        Seconds in which the driver was blocked count for no limit, and those in which no progress
        could be read don't count as standing still.
        """
        now = self._fleet.now()
        with_failures = [slot for slot in self._slots if slot.failed_attempts]
        nodes = self._fleet.live_nodes() if with_failures else set[str]()
        for slot in with_failures:
            first = slot.failed_attempts[0]
            if now - first.since > _READY_PATIENCE_SECONDS or first.node_id not in nodes:
                yield from self._settle_failures(slot)
        reports = self._fleet.progress()
        self.progress = self.progress if reports is None else reports
        unseen = elapsed if elapsed > _UNSEEN_SECONDS else 0.0
        unread = elapsed if reports is None else unseen
        for slot in self._slots:
            if slot.under_way:
                slot.progress_since += unread
                slot.oldest_since += unseen
                report = self.progress.get(slot.place) if slot.place else None
                if report and report.steps != slot.steps:
                    slot.steps, slot.progress_since = report.steps, now
                reason = ""
                if now - slot.oldest_since > self._shard_timeout:
                    reason = f"took longer than the limit of {self._shard_timeout:g} s"
                elif now - slot.progress_since > self._stall_timeout:
                    reason = f"made no progress for {self._stall_timeout:g} s"
                if reason:
                    self._take_work_from(slot, reason)
                    self._starter.restart(slot)
                    self._index_slot(slot)
            elif slot.stage is not Stage.READY:
                self._starter.check(slot)
                self._index_slot(slot)
        self._warn_if_none_ready(now)

    def _warn_if_none_ready(self, now: float) -> None:
        if any(slot.stage is Stage.READY for slot in self._slots):
            self._last_ready = now
        elif now - self._last_ready > _SILENCE_SECONDS:
            self._last_ready = now
            trouble = self._fleet.memory_trouble()
            logger.warning(
                "no actor is ready; %s", trouble or "does the cluster still have what they need?"
            )
