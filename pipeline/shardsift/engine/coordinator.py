"""Hands shards to actors and survives what happens to them.

Each actor has a lane: its handle, the shards under way in it, and, after any failure, a gate that
has to answer before it gets work again. A shard pays with an attempt if it alone can have caused a
failure: the oldest of its lane, for the others wait in the actor's queue; or, of an actor that
overlaps its shards, the only one in it. Of several there none pays, and each is tried again in an
actor of its own.

What is done here for an answer doesn't grow with the number of actors; Ray's waiting for it does.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from shardsift.engine.actor import IN_FLIGHT, Place, Report, ShardTrouble, Task
from shardsift.engine.fleet import ActorFailure, Answer, Call, Fate, Fleet
from shardsift.errors import EngineError
from shardsift.records import FailedShard

Outcome = Report | FailedShard

_TICK_SECONDS = 1.0
_GATE_PATIENCE_SECONDS = 30.0
_SILENCE_SECONDS = 60.0

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Lane:
    actor: Any
    gate: Call | None = None
    place: Place | None = None
    outlived: Place | None = None
    under_way: deque[tuple[Call, Task]] = field(default_factory=deque[tuple[Call, Task]])
    oldest_since: float = 0.0
    suspects: list[_Suspect] = field(default_factory=list["_Suspect"])
    is_apart: bool = False
    """Its shard runs alone."""
    awaited: Call | None = None
    """What tells next how the lane is: its gate, or its oldest shard."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Suspect:
    """A shard that ran when its actor failed; held until it is known whether it is to blame."""

    task: Task
    was_alone: bool
    reason: str
    preempted: bool
    since: float


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
    ) -> None:
        """Ask for `actors` actors. `shard_timeout` is in seconds.

        `find_committed` is asked before a shard is tried again: an actor may have died between
        the commit and its answer.
        """
        self._fleet = fleet
        self._max_attempts = max_attempts
        self._shard_timeout = shard_timeout
        self._find_committed = find_committed
        self._waiting: Iterator[Task] = iter(())
        self._upcoming: Task | None = None
        self._again: deque[Task] = deque()
        self._apart: deque[Task] = deque()  # each to be tried in an actor of its own
        self._begun = 0  # shards taken from the run's list that have no outcome yet
        self._attempts: dict[str, int] = {}
        self._finishing = False
        self._last_look = self._last_ready = fleet.now()
        self._awaited: dict[Call, _Lane] = {}
        self._gated: set[_Lane] = set()
        self._hungry: tuple[dict[_Lane, None], ...] = tuple({} for _ in range(IN_FLIGHT))
        self._lanes = [self._new_lane() for _ in range(actors)]

    @property
    def places(self) -> list[Place]:
        """Where the actors sit that are ready for work."""
        return [lane.place for lane in self._lanes if lane.place and lane.gate is None]

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Yield an outcome for each task, in the order in which they come about.

        Raises:
            EngineError: if an actor can't be constructed.
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
            lane = self._awaited[call]
            hear = self._hear_shard if lane.gate is None else self._hear_gate
            outcomes = list(hear(lane, self._fleet.answer(call)))
            self._file(lane)
            yield from outcomes
        if self._fleet.now() - self._last_look >= _TICK_SECONDS:
            self._last_look = self._fleet.now()
            yield from self._look_after_lanes()

    # --- work out --------------------------------------------------------------------------------

    def _feed_lanes(self) -> None:
        while self._hungry[0] and self._apart:
            lane = next(iter(self._hungry[0]))
            lane.is_apart = True
            self._submit(lane, self._apart.popleft())
        for hungry in self._hungry:  # one shard for every lane before a second for any
            # As many lanes as there are shards apart get no second one, and are soon empty.
            reserved = 0 if hungry is self._hungry[0] else len(self._apart)
            while len(hungry) > reserved and (task := self._next_task()):
                self._submit(next(islice(hungry, reserved, None)), task)
            if self._gated:  # of few shards, the first actor there mustn't take two
                return

    def _next_task(self) -> Task | None:
        if self._again:
            return self._again.popleft()
        task = self._upcoming
        if task is not None:
            self._upcoming = next(self._waiting, None)
            self._begun += 1
        return task

    def _submit(self, lane: _Lane, task: Task) -> None:
        if not lane.under_way:
            lane.oldest_since = self._fleet.now()
        lane.under_way.append((self._fleet.process(lane.actor, task), task))
        self._file(lane)

    def _drop_queued(self) -> None:
        """Forget what waits in actors: should one get to it after all, a commit is a commit."""
        for lane in self._lanes:
            while len(lane.under_way) > 1:
                lane.under_way.pop()

    def _file(self, lane: _Lane) -> None:
        """Note what a lane waits for and how much work it lacks; after every change of a lane."""
        if lane.awaited is not None:
            del self._awaited[lane.awaited]
        for hungry in self._hungry:
            hungry.pop(lane, None)
        lane.awaited = lane.gate
        if lane.gate is None and lane.under_way:
            lane.awaited = lane.under_way[0][0]
        if lane.awaited is not None:
            self._awaited[lane.awaited] = lane
        if lane.gate is not None:
            self._gated.add(lane)
        else:
            self._gated.discard(lane)
            lane.is_apart &= bool(lane.under_way)
            if len(lane.under_way) < IN_FLIGHT and not lane.is_apart:
                self._hungry[len(lane.under_way)][lane] = None

    def _new_lane(self) -> _Lane:
        lane = _Lane(self._fleet.start_actor())
        self._close_gate(lane)
        self._file(lane)
        return lane

    # --- answers in ------------------------------------------------------------------------------

    def _hear_shard(self, lane: _Lane, answer: Answer) -> Iterator[Outcome]:
        assert not isinstance(answer, Place), "a shard's call gives no place"
        if isinstance(answer, ActorFailure):
            self._empty_lane(lane, answer.reason, preempted=answer.preempted)
            self._revive(lane, answer)
            return
        _, task = lane.under_way.popleft()
        lane.oldest_since = self._fleet.now()
        if isinstance(answer, ShardTrouble):
            yield from self._charge(task, answer.reason, self._again)
        else:
            yield answer

    def _hear_gate(self, lane: _Lane, answer: Answer) -> Iterator[Outcome]:
        if isinstance(answer, ActorFailure):
            self._revive(lane, answer)
            return
        assert isinstance(answer, Place), "a gate's call gives a place"
        if answer == lane.outlived:  # a kill takes a moment to arrive
            self._close_gate(lane)
            return
        yield from self._judge(lane)
        lane.gate, lane.place, lane.outlived = None, answer, None

    # --- failures --------------------------------------------------------------------------------

    def _empty_lane(self, lane: _Lane, reason: str, *, preempted: bool = False) -> None:
        """Take all work from a lane: shards that ran are suspects, the others go back free."""
        tasks = [task for _, task in lane.under_way]
        lane.under_way.clear()
        ran = len(tasks) if self._fleet.overlaps else 1
        forgotten = self._fleet.overlaps and self._finishing  # another may have run beside it
        lane.suspects = [
            _Suspect(
                task=task,
                was_alone=ran == 1 and not forgotten,
                reason=reason,
                preempted=preempted,
                since=self._fleet.now(),
            )
            for task in tasks[:ran]
        ]
        names = " and ".join(task.shard for task in tasks[:ran])
        logger.warning("an actor failed at %s: %s", names, reason)
        self._again.extend(tasks[ran:])

    def _revive(self, lane: _Lane, failure: ActorFailure) -> None:
        """See to it that the actor comes back, and wait for that."""
        if failure.fate is Fate.UNSTARTABLE:
            raise EngineError(f"an actor can't start: {failure.reason}")
        if failure.fate is Fate.DEAD:
            lane.actor = self._fleet.start_actor()
        if failure.fate is Fate.BROKEN:  # say by a CUDA error: go on in a new process
            self._restart(lane)
        self._close_gate(lane)

    def _restart(self, lane: _Lane) -> None:
        lane.outlived = lane.place
        self._fleet.restart(lane.actor)

    def _close_gate(self, lane: _Lane) -> None:
        lane.gate = self._fleet.ready(lane.actor)

    def _judge(self, lane: _Lane) -> Iterator[Outcome]:
        """Decide what becomes of the lane's suspects, if it has any."""
        suspects, lane.suspects = lane.suspects, []
        for suspect in suspects:
            if report := self._find_committed(suspect.task):
                yield report
            elif suspect.preempted or not self._is_on(lane, self._fleet.live_nodes()):
                self._again.append(suspect.task)
            elif not suspect.was_alone:
                self._apart.append(suspect.task)
            else:
                again = self._apart if self._fleet.overlaps else self._again
                yield from self._charge(suspect.task, suspect.reason, again)

    def _is_on(self, lane: _Lane, nodes: set[str]) -> bool:
        return lane.place is None or lane.place.node_id in nodes

    def _charge(self, task: Task, reason: str, again: deque[Task]) -> Iterator[FailedShard]:
        attempts = self._attempts.pop(task.shard, 0) + 1
        if attempts >= self._max_attempts:
            yield FailedShard(shard=task.shard, url=task.url, reason=reason, attempts=attempts)
            return
        logger.info("%s: attempt %d failed: %s", task.shard, attempts, reason)
        self._attempts[task.shard] = attempts
        again.append(task)

    # --- once in a while -------------------------------------------------------------------------

    def _look_after_lanes(self) -> Iterator[Outcome]:
        """End what takes too long, and judge suspects whose actor takes long to come back."""
        now = self._fleet.now()
        suspected = [lane for lane in self._lanes if lane.suspects]
        nodes = self._fleet.live_nodes() if suspected else set[str]()
        for lane in suspected:
            waited = now - lane.suspects[0].since
            if waited > _GATE_PATIENCE_SECONDS or not self._is_on(lane, nodes):
                yield from self._judge(lane)
        for lane in self._lanes:
            if lane.under_way and now - lane.oldest_since > self._shard_timeout:
                self._empty_lane(lane, f"took longer than the limit of {self._shard_timeout:g} s")
                self._restart(lane)
                self._close_gate(lane)
                self._file(lane)
        self._tell_of_waiting(now)

    def _tell_of_waiting(self, now: float) -> None:
        if len(self._gated) < len(self._lanes):
            self._last_ready = now
        elif now - self._last_ready > _SILENCE_SECONDS:
            self._last_ready = now
            logger.warning("no actor is ready; does the cluster still have what they need?")
