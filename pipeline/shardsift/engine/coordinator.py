"""Hands shards to actors and survives what happens to them.

Each actor has a lane: its handle, the shards under way in it, and, after any failure, a gate that
has to answer before it gets work again (`Starter`). A shard pays with an attempt if it alone can
have caused a failure: the oldest of its lane, for the others wait in the actor's queue; or, of an
actor that overlaps its shards, the only one in it. Of several there none pays, and each is tried
again in an actor of its own.

What is done here for an answer doesn't grow with the number of actors; Ray's waiting for it does.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from math import inf
from typing import Any, Final, cast

from shardsift.engine.actor import IN_FLIGHT, Place, Report, ShardTrouble, Task
from shardsift.engine.fleet import ActorFailure, Answer, Call, Fleet
from shardsift.engine.slots import PAUSES, Lane, Stage, Starter, Suspect
from shardsift.progress import ActorProgress
from shardsift.records import FailedShard

Outcome = Report | FailedShard

RETRY_PAUSE_SECONDS = 5.0

_TICK_SECONDS = 1.0
_GATE_PATIENCE_SECONDS = 30.0
_SILENCE_SECONDS = 60.0
_ARRIVAL_SECONDS = 10.0
_UNSEEN_SECONDS = 30.0
"""Seconds that the caller may take to record an outcome, as on a slow store."""

logger: Final = logging.getLogger(__name__)


class Coordinator:
    """Drives all shards of a run to an outcome each."""

    def __init__(
        self,
        fleet: Fleet,
        actors: int,
        *,
        max_attempts: int,
        shard_timeout: float,
        find_committed: Callable[[Any], Report | None],
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
        self._starter = Starter(fleet, actors, start_pauses)
        self._waiting: Iterator[Task] = iter(())
        self._upcoming: Task | None = None
        self._again: deque[Task] = deque()
        self._retry_pause = retry_pause
        self._paused: list[tuple[float, Task]] = []  # each with the time at which it goes on
        self._apart: deque[Task] = deque()  # each to be tried in an actor of its own
        self._begun = 0  # shards taken from the run's list that have no outcome yet
        self._attempts: dict[str, int] = {}
        self._finishing = False
        self.progress: Mapping[Place, ActorProgress] = {}
        self._last_look = self._last_ready = fleet.now()
        self._awaited: dict[Call, Lane] = {}
        self._coming: set[Lane] = set()  # those that will soon take work
        self._hungry: tuple[dict[Lane, None], ...] = tuple({} for _ in range(IN_FLIGHT))
        self._lanes = [self._new_lane() for _ in range(actors)]

    @property
    def places(self) -> list[Place]:
        """Locations of the actors that are ready for work."""
        return [lane.place for lane in self._lanes if lane.place and lane.stage is Stage.OPEN]

    @property
    def working(self) -> int:
        """Number of actors that have work in hand. Other threads may read it."""
        return sum(lane.stage is Stage.OPEN and bool(lane.under_way) for lane in self._lanes)

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Yield an outcome for each task, in the order in which they come about.

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
        for lane in self._lanes:
            self._fleet.stop(lane.actor)

    def _has_work(self) -> bool:
        if self._finishing:
            return any(lane.under_way for lane in self._lanes)
        return self._begun > 0 or self._upcoming is not None

    def _step(self) -> Iterator[Outcome]:
        self._drop_queued() if self._finishing else self._feed_lanes()
        for call in self._fleet.wait(self._awaited.keys(), _TICK_SECONDS):
            lane, answer = self._awaited[call], self._fleet.answer(call)
            hear = self._hear_shard if lane.stage is Stage.OPEN else self._hear_gate
            outcomes = list(hear(lane, answer))
            self._file(lane)
            yield from outcomes
        elapsed = self._fleet.now() - self._last_look
        if elapsed >= _TICK_SECONDS:
            self._last_look += elapsed
            yield from self._look_after_lanes(elapsed)

    # --- work out --------------------------------------------------------------------------------

    def _feed_lanes(self) -> None:
        now = self._fleet.now()
        self._again.extend(task for due, task in self._paused if due <= now)
        self._paused = [(due, task) for due, task in self._paused if due > now]
        while self._hungry[0] and self._apart:
            lane = next(iter(self._hungry[0]))
            lane.is_apart = True
            self._submit(lane, self._apart.popleft())
        for hungry in self._hungry:  # one shard for every lane before a second for any
            # As many lanes as there are shards apart get no second one, and are soon empty.
            reserved = 0 if hungry is self._hungry[0] else len(self._apart)
            while len(hungry) > reserved and (task := self._next_task()):
                self._submit(next(islice(hungry, reserved, None)), task)
            if self._coming:  # of few shards, the first actor there mustn't take two
                return

    def _next_task(self) -> Task | None:
        if self._again:
            return self._again.popleft()
        task = self._upcoming
        if task is not None:
            self._upcoming = next(self._waiting, None)
            self._begun += 1
        return task

    def _submit(self, lane: Lane, task: Task) -> None:
        if not lane.under_way:
            lane.oldest_since = self._fleet.now()
            lane.progress_since = lane.oldest_since
        lane.under_way.append((self._fleet.process(lane.actor, task), task))
        self._file(lane)

    def _drop_queued(self) -> None:
        """Forget what waits in actors: should one get to it after all, a commit is a commit."""
        for lane in self._lanes:
            while len(lane.under_way) > 1:
                lane.under_way.pop()

    def _file(self, lane: Lane) -> None:
        """Note what a lane waits for and how much work it lacks; after every change of a lane."""
        if lane.awaited is not None:
            del self._awaited[lane.awaited]
        for hungry in self._hungry:
            hungry.pop(lane, None)
        is_open = lane.stage is Stage.OPEN
        lane.awaited = lane.under_way[0][0] if is_open and lane.under_way else lane.gate
        if lane.awaited is not None:
            self._awaited[lane.awaited] = lane
        if is_open:
            lane.is_apart &= bool(lane.under_way)
            if len(lane.under_way) < IN_FLIGHT and not lane.is_apart:
                self._hungry[len(lane.under_way)][lane] = None
        is_new = self._fleet.now() - lane.since < _ARRIVAL_SECONDS
        if lane.stage is Stage.LOADING or (lane.stage is Stage.ARRIVING and is_new):
            self._coming.add(lane)
        else:
            self._coming.discard(lane)

    def _new_lane(self) -> Lane:
        lane = Lane(None)
        self._starter.start(lane)
        self._file(lane)
        return lane

    # --- answers in ------------------------------------------------------------------------------

    def _hear_shard(self, lane: Lane, answer: Answer) -> Iterator[Outcome]:
        if isinstance(answer, ActorFailure):
            self._empty_lane(lane, answer.reason, preempted=answer.preempted)
            self._starter.revive(lane, answer)
            return
        _, task = lane.under_way.popleft()
        lane.oldest_since = self._fleet.now()
        lane.progress_since = lane.oldest_since
        if isinstance(answer, ShardTrouble):
            yield from self._charge(task, answer.reason, self._again, may_pass=answer.may_pass)
        else:
            yield cast(Report, answer)  # a shard's call gives nothing else

    def _hear_gate(self, lane: Lane, answer: Answer) -> Iterator[Outcome]:
        self._starter.hear(lane, answer)
        if lane.stage is not Stage.ARRIVING:
            yield from self._judge(lane)

    # --- failures --------------------------------------------------------------------------------

    def _empty_lane(self, lane: Lane, reason: str, *, preempted: bool = False) -> None:
        """Take all work from a lane: shards that ran are suspects, the others go back free."""
        tasks = [task for _, task in lane.under_way]
        lane.under_way.clear()
        ran = len(tasks) if self._fleet.overlaps else 1
        forgotten = self._fleet.overlaps and self._finishing  # another may have run beside it
        lane.suspects = [
            Suspect(
                task=task,
                was_alone=ran == 1 and not forgotten,
                reason=reason,
                preempted=preempted,
                node_id=lane.place and lane.place.node_id,
                since=self._fleet.now(),
            )
            for task in tasks[:ran]
        ]
        names = " and ".join(task.shard for task in tasks[:ran])
        logger.warning("an actor failed at %s: %s", names, reason)
        self._again.extend(tasks[ran:])

    def _judge(self, lane: Lane) -> Iterator[Outcome]:
        """Decide what becomes of the lane's suspects, if it has any."""
        suspects, lane.suspects = lane.suspects, []
        for suspect in suspects:
            if report := self._find_committed(suspect.task):
                yield report
            elif suspect.preempted or suspect.node_id not in self._fleet.live_nodes():
                self._again.append(suspect.task)
            elif not suspect.was_alone:
                self._apart.append(suspect.task)
            else:
                again = self._apart if self._fleet.overlaps else self._again
                yield from self._charge(suspect.task, suspect.reason, again)

    def _charge(
        self, task: Task, reason: str, again: deque[Task], *, may_pass: bool = False
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
            again.append(task)

    # --- once in a while -------------------------------------------------------------------------

    def _look_after_lanes(self, elapsed: float) -> Iterator[Outcome]:
        """End what takes too long, start what has paused, and judge who is long in coming back.

        Seconds in which the driver was blocked count for no limit, and those in which no progress
        could be read don't count as standing still.
        """
        now = self._fleet.now()
        suspected = [lane for lane in self._lanes if lane.suspects]
        nodes = self._fleet.live_nodes() if suspected else set[str]()
        for lane in suspected:
            first = lane.suspects[0]
            if now - first.since > _GATE_PATIENCE_SECONDS or first.node_id not in nodes:
                yield from self._judge(lane)
        reports = self._fleet.progress()
        self.progress = self.progress if reports is None else reports
        unseen = elapsed if elapsed > _UNSEEN_SECONDS else 0.0
        unread = elapsed if reports is None else unseen
        for lane in self._lanes:
            if lane.under_way:
                lane.progress_since += unread
                lane.oldest_since += unseen
                report = self.progress.get(lane.place) if lane.place else None
                if report and report.steps != lane.steps:
                    lane.steps, lane.progress_since = report.steps, now
                reason = ""
                if now - lane.oldest_since > self._shard_timeout:
                    reason = f"took longer than the limit of {self._shard_timeout:g} s"
                elif now - lane.progress_since > self._stall_timeout:
                    reason = f"made no progress for {self._stall_timeout:g} s"
                if reason:
                    self._empty_lane(lane, reason)
                    self._starter.restart(lane)
                    self._file(lane)
            elif lane.stage is not Stage.OPEN:
                self._starter.look_after(lane)
                self._file(lane)
        self._tell_of_waiting(now)

    def _tell_of_waiting(self, now: float) -> None:
        if any(lane.stage is Stage.OPEN for lane in self._lanes):
            self._last_ready = now
        elif now - self._last_ready > _SILENCE_SECONDS:
            self._last_ready = now
            logger.warning("no actor is ready; does the cluster still have what they need?")
