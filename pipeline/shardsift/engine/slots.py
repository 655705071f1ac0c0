"""An actor's slot: its handle and its past, and the way to the point at which it takes work."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final

from shardsift.engine.actor import Place, Ready, StartTrouble, Task
from shardsift.engine.fleet import ActorFailure, Answer, Call, Fate, Fleet
from shardsift.errors import EngineError


class Stage(Enum):
    """State of an actor."""

    RESTING = auto()
    """The actor could not start; the next try comes after a pause."""
    ARRIVING = auto()
    """The actor waits for resources."""
    LOADING = auto()
    """The actor has started and loads what it needs."""
    OPEN = auto()
    """The actor takes work."""
    RETIRED = auto()
    """The actor is given up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Suspect:
    """A shard that ran when its actor failed; held until it is known whether it is to blame."""

    task: Task
    was_alone: bool
    reason: str
    preempted: bool
    node_id: str | None
    since: float


@dataclass(slots=True, eq=False)
class Lane:
    """An actor's handle, the calls that it has to answer, and its past.

    Attributes:
        gate: the call whose answer leads to the next stage; None if it rests or is open.
        since: when its stage began.
        place: where it sits, or sat last.
        outlived: place of a killed process, whose last reply is ignored.
        failed_starts: in a row.
        failed_arrivals: in a row, of processes that ended before they could say where they sit.
        avoided: nodes on which it could not start.
        under_way: calls for shards, the oldest first.
        is_apart: its shard runs alone.
        awaited: what tells next how it is: its gate, or its oldest shard.
        steps: the last number that it reported, which has been the same since `progress_since`.
    """

    actor: Any
    stage: Stage = Stage.RESTING
    since: float = 0.0
    gate: Call | None = None
    place: Place | None = None
    outlived: Place | None = None
    failed_starts: int = 0
    failed_arrivals: int = 0
    avoided: set[str] = field(default_factory=set[str])
    under_way: deque[tuple[Call, Task]] = field(default_factory=deque[tuple[Call, Task]])
    oldest_since: float = 0.0
    suspects: list[Suspect] = field(default_factory=list[Suspect])
    is_apart: bool = False
    awaited: Call | None = None
    steps: int = 0
    progress_since: float = 0.0

    def go_on(self, stage: Stage, gate: Call | None, since: float) -> None:
        """Enter a stage, which the answer to a call ends."""
        self.stage, self.gate, self.since = stage, gate, since


PAUSES = (2.0, 10.0)
"""Seconds before an actor's second start, and before its third, which is the last."""

_LOADING_SECONDS = 900.0

_FAILED_ARRIVALS = 3
"""Failures in a row that can't all be lost nodes."""

logger: Final = logging.getLogger(__name__)


class Starter:
    """Moves lanes from stage to stage until they are open.

    A start fails if what the actor needs can't be loaded where it sits, or if its process ends or
    hangs meanwhile: then the node is avoided, and after a few tries the lane is retired. Lost and
    preempted nodes don't count, and waiting for room costs nothing.
    """

    def __init__(self, fleet: Fleet, actors: int, pauses: Sequence[float]) -> None:
        self._fleet = fleet
        self._pauses = pauses
        self._left = actors
        self._was_one_ready = False
        self._has_warned = False
        self._avoided: set[str] = set()

    def start(self, lane: Lane) -> None:
        """Ask for a new actor."""
        lane.actor = self._fleet.start_actor(lane.avoided | self._avoided)
        self._await_place(lane)

    def restart(self, lane: Lane) -> None:
        """Go on in a new process, where there is an old one."""
        lane.outlived = lane.place
        self._fleet.restart(lane.actor)
        self._await_place(lane)

    def revive(self, lane: Lane, failure: ActorFailure) -> None:
        """See to it that an actor that failed comes back."""
        match failure.fate:
            case Fate.RESTARTING:
                self._await_place(lane)
            case Fate.BROKEN:  # say by a CUDA error
                self.restart(lane)
            case Fate.DEAD:
                self.start(lane)
            case Fate.UNSTARTABLE:
                self._fail(lane, failure.reason)

    def hear(self, lane: Lane, answer: Answer) -> None:
        """Take in what a lane's gate says.

        Raises:
            EngineError: if this was the last lane, and it can't start.
        """
        if isinstance(answer, StartTrouble):
            self._fail(lane, answer.reason, is_alive=True)
        elif isinstance(answer, ActorFailure):
            self._hear_failure(lane, answer)
        elif isinstance(answer, Ready):
            lane.place, lane.outlived, lane.failed_starts = answer.place, None, 0
            lane.go_on(Stage.OPEN, None, self._fleet.now())
            self._was_one_ready = True
        elif answer == lane.outlived:  # a kill takes a moment to arrive
            self._await_place(lane)
        else:
            assert isinstance(answer, Place), "the gate of an actor gives nothing else"
            lane.place, lane.failed_arrivals = answer, 0
            lane.go_on(Stage.LOADING, self._fleet.ready(lane.actor), self._fleet.now())

    def look_after(self, lane: Lane) -> None:
        """Begin the next try when a pause is over, and end a start that hangs. Raises as `hear`."""
        waited = self._fleet.now() - lane.since
        if lane.stage is Stage.RESTING and waited >= self._pauses[lane.failed_starts - 1]:
            self.start(lane)
        if lane.stage is Stage.LOADING and waited > _LOADING_SECONDS:
            self._fail(lane, f"it was not ready after {_LOADING_SECONDS:g} s")

    def _hear_failure(self, lane: Lane, failure: ActorFailure) -> None:
        is_own = lane.stage is Stage.LOADING and not failure.preempted
        if is_own and lane.place and lane.place.node_id in self._fleet.live_nodes():
            self._fail(lane, failure.reason)
            return
        lane.failed_arrivals += lane.stage is Stage.ARRIVING
        if lane.failed_arrivals >= _FAILED_ARRIVALS and not self._has_warned:
            if trouble := self._fleet.memory_trouble():
                logger.warning("no actor can start: %s", trouble)
                self._has_warned = True
            lane.failed_arrivals = 0
        self.revive(lane, failure)

    def _await_place(self, lane: Lane) -> None:
        since = lane.since if lane.stage is Stage.ARRIVING else self._fleet.now()
        lane.go_on(Stage.ARRIVING, self._fleet.place(lane.actor), since)

    def _fail(self, lane: Lane, reason: str, *, is_alive: bool = False) -> None:
        place = lane.place if lane.stage is Stage.LOADING else None
        where = f" on {place}" if place else ""
        if place:
            lane.avoided.add(place.node_id)
        lane.failed_starts += 1
        if lane.failed_starts > len(self._pauses):
            self._avoided |= lane.avoided
            self._left -= 1
            lane.go_on(Stage.RETIRED, None, self._fleet.now())
            if not is_alive:
                self._fleet.stop(lane.actor)
            # One that lives is left there: else its GPU would go to the next actor that restarts.
            if self._left:
                logger.warning(
                    "gave up an actor%s after %d starts: %s; %d go on",
                    *(where, lane.failed_starts, reason, self._left),
                )
            elif self._was_one_ready:
                raise EngineError(
                    f"no actor is left, the last one can't start{where}: {reason}; "
                    "the same command goes on with what is left to do"
                )
            else:
                raise EngineError(f"no actor can start, the last one tried{where}: {reason}")
            return
        self._fleet.stop(lane.actor)
        lane.go_on(Stage.RESTING, None, self._fleet.now())
        logger.warning(
            "an actor can't start%s: %s; try %d of %d in %g s",
            *(where, reason, lane.failed_starts + 1, len(self._pauses) + 1),
            self._pauses[lane.failed_starts - 1],
        )
