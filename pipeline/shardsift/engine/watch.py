"""How far a run is: what its driver has counted, and what its actors tell of shards under way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from threading import Lock
from time import monotonic
from typing import Protocol

from shardsift.engine.actor import Place
from shardsift.engine.coordinator import Outcome
from shardsift.engine.tally import Tally
from shardsift.engine.weights import UNWEIGHED, Weights, kind_of
from shardsift.progress import Pace, Part, Parts, Snapshot, count, time_left


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
        weights: Callable[[], Weights | None] = lambda: None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._coordinator = coordinator
        self._tally = tally
        self._doing = doing
        self._clock = clock
        self._lock = Lock()
        self._pace = Pace()
        self._ended: set[str] = set()  # shards that actors may still tell of
        self._bytes = Counter[str]()  # done, by kind
        self._find_weights = weights
        self._weights = UNWEIGHED

    def add(self, outcome: Outcome) -> None:
        """Count a shard that has its outcome."""
        with self._lock:
            self._ended.add(outcome.shard)
            before = self._tally.work
            self._tally.add(outcome)
            self._bytes[kind_of(outcome.shard)] += round(self._tally.work - before)

    def look(self) -> Snapshot:
        """Tell how far the run is."""
        rate_of = self._weigh()
        told = self._coordinator.parts()
        working, ready = self._coordinator.working, len(self._coordinator.places)
        with self._lock:  # what has ended since it was told is in the tally, and nowhere else
            self._ended &= {shard for parts in told.values() for shard in parts}
            ended, tally, done = set(self._ended), replace(self._tally), Counter(self._bytes)
        tally.work = sum(size * rate_of(name) for name, size in done.items())
        loads: list[list[Part]] = []
        for own in told.values():
            under_way = {shard: part for shard, part in own.items() if shard not in ended}
            loads.append([part.times(rate_of(kind_of(s))) for s, part in under_way.items()])
            for shard, part in under_way.items():
                done[kind_of(shard)] += round(part.work)
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
            total=self._items(items, share, done),
            is_estimate=True,
            rate=self._pace.items,
            left=self._left(tally, loads, total - work),
            notes=[
                *([count(ready, "actor")] if ready else []),
                *tally.notes(self._pace.work),
                *([f"{count(tally.failed, 'shard')} failed"] if tally.failed else []),
            ],
        )

    def _weigh(self) -> Callable[[str], float]:
        """Return the work of a byte of a kind, as far as it is known by now."""
        if self._weights is UNWEIGHED and (weights := self._find_weights()):
            self._weights = weights
            self._pace = Pace()  # speeds so far were of bytes
        return self._weights.rate_of

    def _items(self, items: int, share: float, done: Mapping[str, float]) -> int | None:
        """Estimate how many there will be."""
        if self._weights is not UNWEIGHED:
            return round(items + self._weights.items_left(done))
        return round(items / share) if share and items else None

    def _total(self, tally: Tally, parts: list[Part]) -> tuple[float, float]:
        """Return the work of all shards, and that of a mean one, as far as it is known."""
        if known := self._weights.total or tally.work_total:
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
