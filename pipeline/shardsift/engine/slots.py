"""Slots for actors, and the starts of the actors in them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final

from shardsift.engine.actor import Place, Ready, StartTrouble, Task
from shardsift.engine.fleet import ActorFailure, Answer, Call, FailureKind, Fleet
from shardsift.errors import EngineError


class Stage(Enum):
    """State of an actor."""

    PAUSED = auto()
    """The actor could not start; the next try comes after a pause."""
    PENDING = auto()
    """The actor waits for resources."""
    LOADING = auto()
    """The actor has started and loads the model."""
    READY = auto()
    """The actor takes work."""
    GIVEN_UP = auto()
    """The actor is given up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedAttempt:
    """A shard that was running when its actor failed; held until it is known whether it counts."""

    task: Task
    was_alone: bool
    reason: str
    preempted: bool
    node_id: str | None
    since: float


@dataclass(slots=True, eq=False)
class ActorSlot:
    """A place for one actor after the other: its handle, its open calls, its failures.

    Attributes:
        start_call: the call whose answer ends the stage; None if paused, ready or given up.
        since: time at which the stage began.
        place: location of the actor, or of the last one.
        stale_place: place of a killed process, whose last reply is ignored.
        failed_starts: their number in a row.
        avoided: nodes on which it could not start.
        under_way: calls for shards, the oldest first.
        runs_alone: true if its shard has the actor to itself.
        awaited: the call that is answered next: the start call, or that of the oldest shard.
        steps: the last progress that it reported, unchanged since `progress_since`.
    """

    actor: Any
    stage: Stage = Stage.PAUSED
    since: float = 0.0
    start_call: Call | None = None
    place: Place | None = None
    stale_place: Place | None = None
    failed_starts: int = 0
    avoided: set[str] = field(default_factory=set[str])
    under_way: deque[tuple[Call, Task]] = field(default_factory=deque[tuple[Call, Task]])
    oldest_since: float = 0.0
    failed_attempts: list[FailedAttempt] = field(default_factory=list[FailedAttempt])
    runs_alone: bool = False
    awaited: Call | None = None
    steps: int = 0
    progress_since: float = 0.0

    def enter(self, stage: Stage, start_call: Call | None, since: float) -> None:
        """Enter a stage, which the answer to `start_call` ends."""
        self.stage, self.start_call, self.since = stage, start_call, since


PAUSES = (2.0, 10.0)
"""Seconds before an actor's second start, and before its third, which is the last."""

_LOADING_SECONDS = 900.0

logger: Final = logging.getLogger(__name__)


class ActorStarter:
    """Starts the actors of slots, until they are ready or given up.

    A start fails if the actor can't load the model on its node, or if its process ends or hangs
    meanwhile. Then the node is avoided, and after a few attempts the slot is given up. Lost and
    preempted nodes don't count, nor does waiting for resources.
    """

    def __init__(self, fleet: Fleet, actors: int, pauses: Sequence[float]) -> None:
        self._fleet = fleet
        self._pauses = pauses
        self._left = actors
        self._was_one_ready = False
        self._avoided: set[str] = set()

    def start(self, slot: ActorSlot) -> None:
        """Ask for a new actor."""
        slot.actor = self._fleet.start_actor(slot.avoided | self._avoided)
        self._await_place(slot)

    def restart(self, slot: ActorSlot) -> None:
        """Replace the process of an actor by a new one."""
        slot.stale_place = slot.place
        self._fleet.restart(slot.actor)
        self._await_place(slot)

    def recover(self, slot: ActorSlot, failure: ActorFailure) -> None:
        """Start a failed actor again, by the kind of its failure."""
        match failure.kind:
            case FailureKind.RESTARTING:
                self._await_place(slot)
            case FailureKind.BROKEN:  # for example after a CUDA error
                self.restart(slot)
            case FailureKind.DEAD:
                self.start(slot)
            case FailureKind.UNSTARTABLE:
                self._fail(slot, failure.reason)

    def on_answer(self, slot: ActorSlot, answer: Answer) -> None:
        """Move a slot on by the answer to its start call.

        Raises:
            EngineError: if this was the last slot, and it can't start.
        """
        if isinstance(answer, StartTrouble):
            self._fail(slot, answer.reason, is_alive=True)
        elif isinstance(answer, ActorFailure):
            self._on_failure(slot, answer)
        elif isinstance(answer, Ready):
            slot.place, slot.stale_place, slot.failed_starts = answer.place, None, 0
            slot.enter(Stage.READY, None, self._fleet.now())
            self._was_one_ready = True
        elif answer == slot.stale_place:  # the killed process may still answer once
            self._await_place(slot)
        else:
            assert isinstance(answer, Place), "a start call has no other answer"
            slot.place = answer
            slot.enter(Stage.LOADING, self._fleet.ready(slot.actor), self._fleet.now())

    def check(self, slot: ActorSlot) -> None:
        """Start again after a pause, and end a start that hangs. Raises as `on_answer`."""
        waited = self._fleet.now() - slot.since
        if slot.stage is Stage.PAUSED and waited >= self._pauses[slot.failed_starts - 1]:
            self.start(slot)
        if slot.stage is Stage.LOADING and waited > _LOADING_SECONDS:
            self._fail(slot, f"it was not ready after {_LOADING_SECONDS:g} s")

    def _on_failure(self, slot: ActorSlot, failure: ActorFailure) -> None:
        is_own = slot.stage is Stage.LOADING and not failure.preempted
        if is_own and slot.place and slot.place.node_id in self._fleet.live_nodes():
            was_killed = failure.kind is FailureKind.RESTARTING
            trouble = self._fleet.memory_trouble() if was_killed else None
            self._fail(slot, trouble or failure.reason)
            return
        self.recover(slot, failure)

    def _await_place(self, slot: ActorSlot) -> None:
        since = slot.since if slot.stage is Stage.PENDING else self._fleet.now()
        slot.enter(Stage.PENDING, self._fleet.place(slot.actor), since)

    def _fail(self, slot: ActorSlot, reason: str, *, is_alive: bool = False) -> None:
        place = slot.place if slot.stage is Stage.LOADING else None
        where = f" on {place}" if place else ""
        if place:
            slot.avoided.add(place.node_id)
        slot.failed_starts += 1
        if slot.failed_starts > len(self._pauses):
            self._avoided |= slot.avoided
            self._left -= 1
            slot.enter(Stage.GIVEN_UP, None, self._fleet.now())
            if not is_alive:
                self._fleet.stop(slot.actor)
            # A living actor keeps its GPU, or the next actor would restart on the same bad GPU.
            if self._left:
                logger.warning(
                    "gave up an actor%s after %d starts: %s; %d left",
                    *(where, slot.failed_starts, reason, self._left),
                )
            elif self._was_one_ready:
                raise EngineError(
                    f"no actor is left, the last one can't start{where}: {reason}; run the same "
                    "command again for the remaining shards"
                )
            else:
                raise EngineError(f"no actor can start, the last one tried{where}: {reason}")
            return
        self._fleet.stop(slot.actor)
        slot.enter(Stage.PAUSED, None, self._fleet.now())
        logger.warning(
            "an actor can't start%s: %s; attempt %d of %d in %g s",
            *(where, reason, slot.failed_starts + 1, len(self._pauses) + 1),
            self._pauses[slot.failed_starts - 1],
        )
