"""Hands shards to actors and survives what happens to them.

Each actor has a lane: its handle, the shards under way in it, and, after any failure, a gate that
has to answer before it gets work again. Only the oldest shard of a lane runs, the others wait in
the actor's queue; so only that one can have caused a failure, and only it pays with an attempt.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayActorError, RayError, RayTaskError

from jobs.engine.actor import Place, ShardTrouble
from jobs.engine.cluster import live_node_ids
from pipeline.errors import EngineError
from pipeline.records import FailedShard, ShardReport, ShardTask

Outcome = ShardReport | FailedShard

IN_FLIGHT = 2
"""Shards in an actor: one that runs, and one that waits so that the actor never does."""

_TICK_SECONDS = 1.0
_GATE_PATIENCE_SECONDS = 30.0
_SILENCE_SECONDS = 60.0

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Lane:
    actor: Any
    gate: Any = None
    place: Place | None = None
    outlived: Place | None = None
    under_way: deque[tuple[Any, ShardTask]] = field(default_factory=deque[tuple[Any, ShardTask]])
    oldest_since: float = 0.0
    suspect: _Suspect | None = None
    overdue: ShardTask | None = None

    @property
    def awaited(self) -> Any:
        """What tells next how the lane is: its gate, or its oldest shard."""
        return self.gate if self.gate is not None else self.under_way[0][0]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Suspect:
    """The shard that ran when its actor failed; held until it is known whether it is to blame."""

    task: ShardTask
    reason: str
    preempted: bool
    since: float


class Coordinator:
    """Drives all shards of a run to an outcome each."""

    def __init__(
        self,
        start_actor: Callable[[], Any],
        actors: int,
        *,
        max_attempts: int,
        time_limit: float,
        find_committed: Callable[[ShardTask], ShardReport | None],
    ) -> None:
        """Ask for `actors` actors. `time_limit` is in seconds for one shard.

        `find_committed` is asked before a shard is tried again: an actor may have died between
        the commit and its answer.
        """
        self._start_actor = start_actor
        self._max_attempts = max_attempts
        self._time_limit = time_limit
        self._find_committed = find_committed
        self._waiting: Iterator[ShardTask] = iter(())
        self._upcoming: ShardTask | None = None
        self._again: deque[ShardTask] = deque()
        self._attempts: dict[str, int] = {}
        self._last_ready = monotonic()
        self._finishing = False
        self._lanes = [self._new_lane() for _ in range(actors)]

    @property
    def places(self) -> list[Place]:
        """Where the actors sit that are ready for work."""
        return [lane.place for lane in self._lanes if lane.place and lane.gate is None]

    def run(self, tasks: Iterable[ShardTask]) -> Iterator[Outcome]:
        """Yield an outcome for each task, in the order in which they come about.

        Raises:
            EngineError: where an actor can't be constructed.
        """
        self._waiting = iter(tasks)
        self._upcoming = next(self._waiting, None)
        while self._has_work():
            self._drop_queued() if self._finishing else self._fill_lanes()
            for lane in self._wait():
                yield from self._open_gate(lane) if lane.gate is not None else self._collect(lane)
            yield from self._judge_suspects()
            self._stop_overdue()
            self._tell_of_waiting()

    def finish(self) -> None:
        """Begin no more shards: `run` ends once those that are being scored have an outcome.

        Safe to call from a signal handler.
        """
        self._finishing = True

    def stop(self) -> None:
        """Release the actors; a shard under way is left uncommitted."""
        for lane in self._lanes:
            ray.kill(lane.actor)

    # --- work out --------------------------------------------------------------------------------

    def _has_work(self) -> bool:
        if self._finishing:
            return any(lane.under_way for lane in self._lanes)
        under_way = any(lane.under_way or lane.suspect for lane in self._lanes)
        return under_way or bool(self._again) or self._upcoming is not None

    def _drop_queued(self) -> None:
        """Forget what waits in actors: should one get to it after all, a commit is a commit."""
        for lane in self._lanes:
            while len(lane.under_way) > 1:
                lane.under_way.pop()

    def _fill_lanes(self) -> None:
        for _ in range(IN_FLIGHT):  # one shard for every lane before a second for any
            for lane in self._lanes:
                if lane.gate is None and len(lane.under_way) < IN_FLIGHT:
                    self._submit_next(lane)

    def _submit_next(self, lane: _Lane) -> None:
        if self._again:
            task = self._again.popleft()
        elif self._upcoming is not None:
            task, self._upcoming = self._upcoming, next(self._waiting, None)
        else:
            return
        if not lane.under_way:
            lane.oldest_since = monotonic()
        lane.under_way.append((lane.actor.process.remote(task), task))

    # --- answers in ------------------------------------------------------------------------------

    def _wait(self) -> list[_Lane]:
        """Lanes whose gate or whose oldest shard has an answer, waiting a tick at most."""
        lanes = [lane for lane in self._lanes if lane.gate is not None or lane.under_way]
        lane_of = {lane.awaited: lane for lane in lanes}
        refs = list(lane_of)
        done, _ = ray.wait(refs, num_returns=1, timeout=_TICK_SECONDS)
        if done:  # take along what else is there
            done, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        return [lane_of[ref] for ref in done]

    def _collect(self, lane: _Lane) -> Iterator[Outcome]:
        ref, task = lane.under_way[0]
        try:
            answer: ShardReport | ShardTrouble = ray.get(ref)
        except RayActorError as error:
            self._fail_lane(lane, _describe(error), preempted=getattr(error, "preempted", False))
            self._revive(lane, error)
            return
        except RayError as error:
            # The process may be broken now, say by a CUDA error: go on in a new one.
            self._fail_lane(lane, _describe(error), preempted=False)
            self._restart(lane)
            self._close_gate(lane)
            return
        lane.under_way.popleft()
        lane.oldest_since = monotonic()
        if isinstance(answer, ShardTrouble):
            yield from self._charge(task, answer.reason)
        else:
            yield answer

    # --- failures --------------------------------------------------------------------------------

    def _fail_lane(self, lane: _Lane, reason: str, *, preempted: bool) -> None:
        """Take all work from a lane: the oldest shard is the suspect, the others go back free."""
        _, oldest = lane.under_way[0]
        overdue, lane.overdue = lane.overdue, None
        if overdue is None or overdue is oldest:
            if overdue:
                reason = f"took longer than the limit of {self._time_limit:g} s"
            lane.suspect = _Suspect(
                task=oldest, reason=reason, preempted=preempted, since=monotonic()
            )
            lane.under_way.popleft()
            logger.warning("an actor failed while it scored %s: %s", oldest.shard, reason)
        # Else the overdue shard was done just before the kill, which hit an innocent one.
        self._again.extend(task for _, task in lane.under_way)
        lane.under_way.clear()

    def _revive(self, lane: _Lane, error: RayActorError) -> None:
        """Wait for Ray to restart the actor; replace one that it won't restart."""
        if isinstance(error, ActorDiedError):
            if error.actor_init_failed:
                raise EngineError(f"an actor can't start: {_describe(error)}") from error
            lane.actor = self._start_actor()
        self._close_gate(lane)

    def _restart(self, lane: _Lane) -> None:
        lane.outlived = lane.place
        ray.kill(lane.actor, no_restart=False)

    def _close_gate(self, lane: _Lane) -> None:
        # Asked again on every failure, here and not by Ray, which would tell the user of each.
        lane.gate = lane.actor.ready.remote()

    def _open_gate(self, lane: _Lane) -> Iterator[Outcome]:
        try:
            place: Place = ray.get(lane.gate)
        except RayActorError as error:
            self._revive(lane, error)
            return
        if place == lane.outlived:  # a kill takes a moment to arrive
            self._close_gate(lane)
            return
        yield from self._judge(lane)
        lane.gate, lane.place, lane.outlived = None, place, None

    def _judge_suspects(self) -> Iterator[Outcome]:
        """Don't let a shard wait for an actor that takes long to come back."""
        for lane in self._lanes:
            if lane.suspect and (
                self._is_on_lost_node(lane)
                or monotonic() - lane.suspect.since > _GATE_PATIENCE_SECONDS
            ):
                yield from self._judge(lane)

    def _judge(self, lane: _Lane) -> Iterator[Outcome]:
        suspect, lane.suspect = lane.suspect, None
        if suspect is None:
            return
        if report := self._find_committed(suspect.task):
            yield report
        elif suspect.preempted or self._is_on_lost_node(lane):
            self._again.append(suspect.task)
        else:
            yield from self._charge(suspect.task, suspect.reason)

    def _is_on_lost_node(self, lane: _Lane) -> bool:
        return lane.place is not None and lane.place.node_id not in live_node_ids()

    def _charge(self, task: ShardTask, reason: str) -> Iterator[Outcome]:
        attempts = self._attempts.pop(task.shard, 0) + 1
        if attempts >= self._max_attempts:
            yield FailedShard(shard=task.shard, url=task.url, reason=reason, attempts=attempts)
            return
        logger.info("%s: attempt %d failed: %s", task.shard, attempts, reason)
        self._attempts[task.shard] = attempts
        self._again.append(task)

    def _stop_overdue(self) -> None:
        for lane in self._lanes:
            late = lane.under_way and monotonic() - lane.oldest_since > self._time_limit
            if late and lane.overdue is None:
                lane.overdue = lane.under_way[0][1]
                self._restart(lane)

    def _tell_of_waiting(self) -> None:
        if any(lane.gate is None for lane in self._lanes):
            self._last_ready = monotonic()
        elif monotonic() - self._last_ready > _SILENCE_SECONDS:
            self._last_ready = monotonic()
            logger.warning("no actor is ready; does the cluster still have what they need?")

    def _new_lane(self) -> _Lane:
        lane = _Lane(self._start_actor())
        self._close_gate(lane)
        return lane


def _describe(error: RayError) -> str:
    """One line of what Ray says: the cause's."""
    if isinstance(error, RayTaskError):
        cause = getattr(error, "cause", error)
        return f"{type(cause).__name__}: {cause}".splitlines()[0]
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
