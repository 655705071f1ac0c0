"""How long each stage of the work was busy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from threading import Lock
from time import perf_counter
from typing import TypeVar

ItemT = TypeVar("ItemT")


class StageClock:
    """Adds up seconds by stage, from any thread; stages overlap, so do their seconds."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._lock = Lock()

    @property
    def seconds(self) -> dict[str, float]:
        """Stage to seconds, in the order in which stages were first measured."""
        with self._lock:
            return dict(self._seconds)

    @contextmanager
    def measure(self, stage: str) -> Generator[None]:
        """Count the block's time."""
        started = perf_counter()
        try:
            yield
        finally:
            self.add(stage, perf_counter() - started)

    def iterate(self, stage: str, items: Iterable[ItemT]) -> Iterator[ItemT]:
        """Pass the items on, and count the time that it takes to get each of them."""
        iterator = iter(items)
        while True:
            with self.measure(stage):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def add(self, stage: str, seconds: float) -> None:
        """Count seconds that were measured elsewhere."""
        with self._lock:
            self._seconds[stage] += seconds
