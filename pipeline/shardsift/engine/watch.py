"""How far a run is: what its driver has counted, and what its actors tell of shards under way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from threading import Lock, Thread
from time import monotonic
from typing import Protocol

from shardsift.engine.actor import Place
from shardsift.engine.coordinator import Outcome
from shardsift.engine.tally import Tally
from shardsift.errors import UserError
from shardsift.progress import Pace, Part, Parts, Snapshot, count, time_left

Weigh = Callable[[], float | None]
"""Adds up the work of all shards of a run, which may take a while; None if that can't be known."""


class Watched(Protocol):
    """What a watch asks of a coordinator, from another thread."""

    @property
    def places(self) -> Sequence[Place]:
        """Where actors sit that are ready."""
        ...

    @property
    def working(self) -> int:
        """How many actors have work in hand."""
        ...

    def parts(self) -> Parts:
        """Return what actors tell of the shards under way."""
        ...


class Watch:
    """Looks at a run. The driver adds outcomes, another thread looks."""

    def __init__(
        self,
        coordinator: Watched,
        tally: Tally,
        doing: str,
        weigh: Weigh | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._coordinator = coordinator
        self._tally = tally
        self._doing = doing
        self._clock = clock
        self._lock = Lock()
        self._pace = Pace()
        self._ended: set[str] = set()  # shards that actors may still tell of
        self._weighed = Future[float | None]()
        if weigh:
            Thread(target=self._find_weight, args=(weigh,), daemon=True).start()

    def _find_weight(self, weigh: Weigh) -> None:
        with suppress(UserError, OSError):  # whoever reads the shards tells of it
            self._weighed.set_result(weigh())

    def add(self, outcome: Outcome) -> None:
        """Count a shard that has its outcome."""
        with self._lock:
            self._ended.add(outcome.shard)
            self._tally.add(outcome)

    def look(self) -> Snapshot:
        """Tell how far the run is."""
        told = self._coordinator.parts()
        working, ready = self._coordinator.working, len(self._coordinator.places)
        with self._lock:  # what has ended since it was told is in the tally, and nowhere else
            self._ended &= {shard for parts in told.values() for shard in parts}
            ended, tally = set(self._ended), replace(self._tally)
        loads = [
            [part for shard, part in parts.items() if shard not in ended] for parts in told.values()
        ]
        parts = [part for load in loads for part in load]
        if not ready and not parts and not tally.shards:
            return Snapshot(doing="starting actors", notes=[f"{tally.seconds:.0f} s"])
        items = tally.items + sum(part.items for part in parts)
        total, size = self._total(tally, parts)
        work = tally.work + tally.failed * size + sum(part.work for part in parts)
        self._pace.mark(self._clock(), items, work, working)
        share = min(work / total, 1.0) if total else 0.0
        tally.errors += sum(part.errors for part in parts)
        return Snapshot(
            doing=self._doing,
            share=share,
            items=items,
            noun=tally.noun,
            total=round(items / share) if share and items else None,
            is_estimate=True,
            rate=self._pace.items,
            left=self._left(tally, loads, total - work),
            notes=[
                *([count(ready, "actor")] if ready else []),
                *tally.notes(self._pace.work),
                *([f"{count(tally.failed, 'shard')} failed"] if tally.failed else []),
            ],
        )

    def _total(self, tally: Tally, parts: list[Part]) -> tuple[float, float]:
        """Return the work of all shards, and that of a mean one, as far as it is known."""
        weighed = self._weighed.result() if self._weighed.done() else None
        known = tally.work_total or weighed
        if known:
            return known, known / tally.shards_total
        done = tally.shards - tally.failed
        seen = tally.work + sum(part.size for part in parts)
        size = seen / (done + len(parts)) if seen else 1.0
        return size * tally.shards_total, size

    def _left(self, tally: Tally, loads: list[list[Part]], left: float) -> float | None:
        speed = self._pace.work_each
        if not speed:
            return None
        in_hand = [sum(part.size - part.work for part in load) for load in loads]
        idle = max(0, self._coordinator.working - len(in_hand))
        waiting = max(0, tally.shards_total - tally.shards - sum(map(len, loads)))
        size = max(0.0, left - sum(in_hand)) / max(waiting, 1)
        ends = time_left([*in_hand, *[0.0] * idle], waiting, size, speed)
        return max(0.0, ends - self._pace.since_mark)
