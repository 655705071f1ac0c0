"""Progress of work: counted in the processes that work, and summed up for display.

A `Meter` counts in the working process, a `Pace` computes the speed, and a `Display` shows a
`Snapshot`.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from heapq import heapify, heapreplace
from threading import Lock
from time import monotonic
from typing import Any, Protocol, TypeVar

ItemT = TypeVar("ItemT")

_WINDOW_SECONDS = 60.0
_STILL_SECONDS = 20.0
"""After which nothing new counts as slowness, and not as a batch that is under way."""
_ACTOR_BY_ACTOR = 8
"""Shards an actor whose end is worked out one by one; of those before them only the sum counts."""


# --- where the work is done ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ShardProgress:
    """Progress of a shard that is under way: `work` of `size`, mostly bytes."""

    work: float
    size: float
    items: int
    errors: int


@dataclass(frozen=True, slots=True)
class ActorProgress:
    """State of a `Meter`: a number that grows while the actor works, and its open shards."""

    steps: int
    shards: Mapping[str, ShardProgress]


class ShardMeter:
    """Counts the progress of one shard; one thread counts, others may read."""

    def __init__(self, size: float) -> None:
        self.ended: int = 0
        self._size = size
        self._work = 0.0
        self._items = 0
        self._errors = 0
        self._ends = array("d")

    def add(self, reached: float, *, items: int = 1) -> None:
        """Count items, with which the work has come so far of its size."""
        self._work = reached
        self._items += items

    def add_errors(self, items: int) -> None:
        """Count items of which nothing comes."""
        self._items += items
        self._errors += items

    def begin(self, ends: Iterable[float]) -> None:
        """Record the progress that will be reached with each of the next items."""
        self._ends.extend(ends)

    def ending(self, items: Iterable[ItemT]) -> Iterator[ItemT]:
        """Pass on the results of the begun items, in their order, and count each."""
        for item in items:
            self.ended += 1
            yield item

    @property
    def part(self) -> ShardProgress:
        """Progress until now."""
        ended = self.ended
        work = self._ends[ended - 1] if ended else self._work
        return ShardProgress(min(work, self._size), self._size, self._items + ended, self._errors)


class Meter:
    """Counts steps of any kind, and the progress of each shard, from any thread."""

    def __init__(self) -> None:
        self._steps = 0
        self._lock = Lock()
        self._open: dict[str, ShardMeter] = {}

    def passing(self, items: Iterable[ItemT]) -> Iterator[ItemT]:
        """Pass the items on, and count each as a step."""
        for item in items:
            with self._lock:
                self._steps += 1
            yield item

    @contextmanager
    def shard(self, name: str, size: float) -> Generator[ShardMeter]:
        """Yield what counts a shard of this size, which is under way as long as the block."""
        meter = ShardMeter(size)
        with self._lock:
            self._open[name] = meter
        try:
            yield meter
        finally:
            with self._lock:
                del self._open[name]
                self._steps += meter.ended

    def read(self) -> ActorProgress:
        """Return the progress until now."""
        with self._lock:
            steps = self._steps + sum(meter.ended for meter in self._open.values())
            return ActorProgress(steps, {name: meter.part for name, meter in self._open.items()})


# --- how fast it goes ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Mark:
    time: float
    items: int
    work: float
    worker_seconds: float


class Pace:
    """Speed of work, over the last minute, or since it began.

    Work comes in lumps, for an encoder takes images by the batch: speed is measured from lump to
    lump, so that it doesn't fall while the next one is under way.
    """

    def __init__(self) -> None:
        self._marks: deque[_Mark] = deque()
        self._looked = 0.0
        self._worker_seconds = 0.0

    def mark(self, now: float, items: int, work: float, workers: int) -> None:
        """Record the total progress, and the number of workers since the last call."""
        if self._marks:
            self._worker_seconds += workers * (now - self._looked)
        self._looked = now
        mark = _Mark(now, items, work, self._worker_seconds)
        is_new = not self._marks or work > self._last.work or items > self._last.items
        if not is_new and now - self._last.time > _STILL_SECONDS:
            is_new = True
            if work < self._last.work:  # a shard was started again
                self._marks.clear()
        if is_new:
            self._marks.append(mark)
        while len(self._marks) > 2 and self._marks[1].time <= now - _WINDOW_SECONDS:
            self._marks.popleft()

    @property
    def items(self) -> float | None:
        """Items a second; None before there is one."""
        return self._speed(self._last.items - self._first.items, "time") if self._marks else None

    @property
    def work(self) -> float | None:
        """Work a second, of all workers."""
        return self._speed(self._last.work - self._first.work, "time") if self._marks else None

    @property
    def work_each(self) -> float | None:
        """Work a second of one worker."""
        if not self._marks:
            return None
        return self._speed(self._last.work - self._first.work, "worker_seconds")

    @property
    def since_mark(self) -> float:
        """Seconds since something was done."""
        return self._looked - self._last.time if self._marks else 0.0

    @property
    def _first(self) -> _Mark:
        return self._marks[0]

    @property
    def _last(self) -> _Mark:
        return self._marks[-1]

    def _speed(self, done: float, per: str) -> float | None:
        seconds = getattr(self._last, per) - getattr(self._first, per)
        return done / seconds if done > 0 and seconds > 0 else None


def time_left(loads: Sequence[float], waiting: int, size: float, speed: float) -> float:
    """Estimate the seconds until the last worker is done.

    Args:
        loads: the work that each worker has in hand.
        waiting: number of shards that wait, of `size` work each; an idle worker takes the next.
        speed: work a second of one worker.
    """
    ends = [load / speed for load in loads] or [0.0]
    heapify(ends)
    one_by_one = min(waiting, _ACTOR_BY_ACTOR * len(ends))
    for _ in range(one_by_one):
        heapreplace(ends, ends[0] + size / speed)
    return max(ends) + (waiting - one_by_one) * size / speed / len(ends)


# --- for people ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """Progress of work at a moment.

    Attributes:
        doing: name of the activity, such as `scoring`.
        share: finished share, 0 to 1; None if unknown.
        items: number of finished items; `noun` is their name.
        total: number of all items; `is_estimate` if it isn't exact.
        rate: items a second.
        left: seconds left.
        notes: further text, the most important last.
    """

    doing: str
    share: float | None = None
    items: int = 0
    noun: str = ""
    total: int | None = None
    is_estimate: bool = False
    rate: float | None = None
    left: float | None = None
    notes: Sequence[str] = ()


TakeSnapshot = Callable[[], Snapshot]


class Course:
    """Counts the items of work in this process; another thread may read."""

    def __init__(
        self,
        doing: str,
        *,
        noun: str = "",
        total: int | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.doing: str = doing
        self._noun = noun
        self._total = total
        self._clock = clock
        self._items = 0
        self._share = 0.0
        self._pace = Pace()

    def step(self, share: float | None = None) -> None:
        """Count an item, with which this share of the work is done; else that of the items."""
        self._items += 1
        self._share = share if share is not None else self._items / (self._total or self._items)

    def begin(self, doing: str) -> None:
        """Start a phase of unknown length."""
        self.doing, self._noun, self._share = doing, "", 0.0

    def snapshot(self) -> Snapshot:
        """Return the progress until now."""
        items, share = self._items, self._share
        self._pace.mark(self._clock(), items, share, 1)
        speed = self._pace.work if share else None
        total = self._total or (round(items / share) if share else None)
        return Snapshot(
            doing=self.doing,
            share=share if share or self._total else None,
            items=items,
            noun=self._noun,
            total=total if self._total or self._noun else None,
            is_estimate=self._total is None,
            rate=self._pace.items if speed else None,
            left=max(0.0, (1 - share) / speed - self._pace.since_mark) if speed else None,
        )


class Display(Protocol):
    """Interface to print messages and show progress."""

    def say(self, text: str) -> None:
        """Print a line."""
        ...

    def busy(self, what: str) -> AbstractContextManager[Any]:
        """Show an activity while the block runs."""
        ...

    def show_progress(self, snapshot: TakeSnapshot) -> AbstractContextManager[Any]:
        """Show what `snapshot` returns, now and then, as long as the block lasts.

        It is called in a thread of its own.
        """
        ...

    def track(self, items: Iterable[Any], title: str, total: int) -> Iterable[Any]:
        """Pass items on, and show progress."""
        ...
