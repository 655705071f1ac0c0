"""Progress of a run: shards that its driver has counted, and those that actors have under way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from time import monotonic
from typing import ClassVar, Protocol

from shardsift.engine.actor import Place
from shardsift.engine.coordinator import Outcome
from shardsift.progress import ActorProgress, Pace, ShardProgress, Snapshot, time_left
from shardsift.records import FailedShard
from shardsift.text import count

_STALE_SECONDS = 15.0
"""Age at which an actor's reading is certainly gone, and its ended shards can be forgotten."""


@dataclass
class RunCounts:
    """Counts of a run, as far as this process has seen them; each kind of run adds its own.

    `work` measures progress, mostly in bytes; `work_total` is None if only the number of shards is
    known.
    """

    noun: ClassVar[str] = "samples"

    shards_total: int
    work_total: float | None = None
    shards: int = 0
    failed: int = 0
    items: int = 0
    errors: int = 0
    work: float = 0.0
    started: float = field(default_factory=monotonic, repr=False)
    ended: float | None = field(default=None, repr=False)

    def add(self, outcome: Outcome) -> None:
        """Count one more shard."""
        self.shards += 1
        self.failed += isinstance(outcome, FailedShard)

    def count(self, *, items: int = 0, errors: int = 0, work: float = 0.0) -> None:
        """Add items, those among them without a result, and work."""
        self.items += items
        self.errors += errors
        self.work += work

    @property
    def seconds(self) -> float:
        """Seconds from the begin of the run to its end, or to now."""
        return (self.ended or monotonic()) - self.started

    @property
    def per_second(self) -> float:
        """Items a second, over the whole run."""
        return self.items / max(self.seconds, 1e-9)

    def notes(self, work_per_second: float | None) -> Sequence[str]:
        """Return what people want to know of a run beside its progress."""
        return [f"{self.errors:,} errors"] if self.errors else []


class Observed(Protocol):
    """The part of a coordinator that `RunProgress` reads, from another thread."""

    @property
    def places(self) -> Sequence[Place]:
        """Places of the actors that are ready."""
        ...

    @property
    def working(self) -> int:
        """Number of actors that have work in hand."""
        ...

    @property
    def progress(self) -> Mapping[Place, ActorProgress]:
        """Latest reading of each actor."""
        ...


class RunProgress:
    """Progress of a run. The driver adds outcomes, another thread calls `snapshot`."""

    def __init__(
        self,
        coordinator: Observed,
        counts: RunCounts,
        doing: str,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._coordinator = coordinator
        self._counts = counts
        self._doing = doing
        self._clock = clock
        self._lock = Lock()
        self._pace = Pace()
        self._ended: dict[str, float] = {}  # shards that a late report may still show as under way

    def add(self, outcome: Outcome) -> None:
        """Count a shard that has its outcome."""
        with self._lock:
            self._ended[outcome.shard] = self._clock()
            self._counts.add(outcome)

    def snapshot(self) -> Snapshot:
        """Return the state of the run."""
        now = self._clock()
        working, ready = self._coordinator.working, len(self._coordinator.places)
        with self._lock:  # a shard is in the counts or under way, never both
            readings = self._coordinator.progress.values()
            self._ended = {s: at for s, at in self._ended.items() if now - at < _STALE_SECONDS}
            loads = [
                [part for shard, part in reading.shards.items() if shard not in self._ended]
                for reading in readings
            ]
            counts = replace(self._counts)
        parts = [part for load in loads for part in load]
        if not ready and not parts and not counts.shards:
            return Snapshot(doing="starting actors", notes=[f"{counts.seconds:.0f} s"])
        items = counts.items + sum(part.items for part in parts)
        total, size = _total(counts, parts)
        work = counts.work + counts.failed * size + sum(part.work for part in parts)
        self._pace.mark(now, items, work, working)
        share = min(work / total, 1.0) if total else 0.0
        counts.errors += sum(part.errors for part in parts)
        return Snapshot(
            doing=self._doing,
            share=share,
            items=items,
            noun=counts.noun,
            total=round(items / share) if share and items else None,
            is_estimate=True,
            rate=self._pace.items,
            left=self._left(counts, loads, working, total - work),
            notes=[
                *counts.notes(self._pace.work),
                *([f"{count(counts.failed, 'shard')} failed"] if counts.failed else []),
                *([count(ready, "actor")] if ready else []),
            ],
        )

    def _left(
        self, counts: RunCounts, loads: list[list[ShardProgress]], working: int, left: float
    ) -> float | None:
        speed = self._pace.work_each
        if not speed:
            return None
        in_hand = [sum(part.size - part.work for part in load) for load in loads]
        idle = max(0, working - len(in_hand))
        waiting = max(0, counts.shards_total - counts.shards - sum(map(len, loads)))
        size = max(0.0, left - sum(in_hand)) / max(waiting, 1)
        ends = time_left([*in_hand, *[0.0] * idle], waiting, size, speed)
        return max(0.0, ends - self._pace.since_mark)


def _total(counts: RunCounts, parts: Sequence[ShardProgress]) -> tuple[float, float]:
    """Return the work of all shards, and of a mean one, estimated from the shards seen so far."""
    if counts.work_total:
        return counts.work_total, counts.work_total / counts.shards_total
    seen = counts.work + sum(part.size for part in parts)
    size = seen / (counts.shards - counts.failed + len(parts)) if seen else 1.0
    return size * counts.shards_total, size
