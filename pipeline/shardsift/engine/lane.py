"""One actor of a run, and what is known of it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from shardsift.engine.actor import Place, Task
from shardsift.engine.fleet import Call


class Stage(Enum):
    """How far an actor has come."""

    RESTING = auto()
    """It could not start; the next try comes after a pause."""
    ARRIVING = auto()
    """It waits for a place to sit."""
    LOADING = auto()
    """It sits somewhere and loads what it needs."""
    OPEN = auto()
    """It takes work."""
    RETIRED = auto()
    """It is not tried again."""


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
        outlived: where a process sat that was killed, and may answer once more.
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
