"""Read and decode while the scorer works: bounded, in order, errors in their place."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

Track = Callable[[Iterable[Any], str, int], Iterable[Any]]
"""Passes items on, and shows how far they have come: items, what is done, how many there are."""


def is_starved(error: BaseException) -> bool:
    """Tell whether an error says that this machine has no memory or threads left."""
    return isinstance(error, MemoryError) or "can't start new thread" in str(error)


def no_track(items: Iterable[Any], title: str, total: int) -> Iterable[Any]:
    """Pass the items on, and show nothing."""
    return items


def prefetch(items: Iterable[ItemT], depth: int) -> Iterator[ItemT]:
    """Draw up to `depth` items ahead, in a thread of its own.

    An error of `items` is raised behind the last item before it.
    """
    iterator = iter(items)
    end = object()
    pool = ThreadPoolExecutor(1, "prefetch")
    try:
        drawn = deque(pool.submit(next, iterator, end) for _ in range(depth))
        while (item := drawn.popleft().result()) is not end:
            drawn.append(pool.submit(next, iterator, end))
            yield item  # pyright: ignore[reportReturnType]  # the sentinel has no type of its own
    finally:
        pool.shutdown(cancel_futures=True)


def map_ordered(
    function: Callable[[ItemT], ResultT], items: Iterable[ItemT], threads: int
) -> Iterator[ResultT]:
    """Apply `function` in threads; two items a thread are under way or wait to be taken."""
    pool = ThreadPoolExecutor(threads, "decode")
    under_way: deque[Future[ResultT]] = deque()
    try:
        for item in items:
            under_way.append(pool.submit(function, item))
            if len(under_way) >= 2 * threads:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
