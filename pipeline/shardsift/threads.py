"""Threads and memory of a process: work in order, bounded, with errors in their place."""

from __future__ import annotations

import ctypes
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

Track = Callable[[Iterable[Any], str, int], Iterable[Any]]
"""Passes items on, and shows progress; arguments are items, title and total."""


def is_starved(error: BaseException) -> bool:
    """Return whether an error says that this process has no memory or threads left."""
    told = str(error)
    return (
        isinstance(error, MemoryError)
        or "can't start new thread" in told
        or "failed to map segment" in told  # a library can't be loaded
        or "Cannot allocate memory" in told
    )


def no_track(items: Iterable[Any], title: str, total: int) -> Iterable[Any]:
    """Pass the items on, and show nothing."""
    return items


def prefetch(items: Iterable[ItemT], depth: int) -> Iterator[ItemT]:
    """Draw up to `depth` items ahead, in a thread of its own.

    An error is raised after the items that preceded it.
    """
    iterator = iter(items)
    end = object()
    with _threads(1, "prefetch") as pool:
        drawn = deque(pool.submit(next, iterator, end) for _ in range(depth))
        while (item := drawn.popleft().result()) is not end:
            drawn.append(pool.submit(next, iterator, end))
            yield item  # pyright: ignore[reportReturnType]  # the sentinel has no type of its own


def map_ordered(
    function: Callable[[ItemT], ResultT], items: Iterable[ItemT], threads: int
) -> Iterator[ResultT]:
    """Apply `function` in threads; two items a thread are under way or wait to be taken."""
    under_way: deque[Future[ResultT]] = deque()
    with _threads(threads, "decode") as pool:
        for item in items:
            under_way.append(pool.submit(function, item))
            if len(under_way) >= 2 * threads:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


@contextmanager
def _threads(number: int, name: str) -> Generator[ThreadPoolExecutor]:
    """Make threads, and wait for them when the block ends.

    If a signal ends the block, don't wait, because a read that hangs would keep the command alive.
    """
    pool = ThreadPoolExecutor(number, name)
    waits = True
    try:
        yield pool
    except KeyboardInterrupt:
        waits = False
        raise
    finally:
        pool.shutdown(wait=waits, cancel_futures=True)


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of `mallopt`, as in glibc's `malloc.h`."""

_MEBIBYTE = 2**20


def keep_heap() -> None:
    """Keep freed memory in the process, for the next allocation.

    glibc hands large blocks back at once, so that every batch of images, and every piece of a tar,
    is paid for in page faults: a tenth of RN50's time. Elsewhere nothing is done.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_M_MMAP_THRESHOLD, 128 * _MEBIBYTE)
        mallopt(_M_TRIM_THRESHOLD, 512 * _MEBIBYTE)
