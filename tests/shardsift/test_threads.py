"""Threads keep the order, stay bounded, and raise errors where they occurred."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from shardsift.threads import map_ordered, prefetch


def test_prefetching_changes_nothing() -> None:
    assert list(prefetch(range(100), 8)) == list(range(100))


def test_prefetching_looks_no_further_ahead_than_it_may() -> None:
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            drawn.append(item)
            yield item

    stream = prefetch(items(), 3)
    next(stream)
    time.sleep(0.1)
    assert len(drawn) <= 4
    stream.close()  # pyright: ignore[reportAttributeAccessIssue]  # it is a generator


def test_an_error_comes_behind_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise ValueError("cut")

    seen: list[int] = []
    with pytest.raises(ValueError, match="cut"):
        seen.extend(prefetch(items(), 8))
    stream = prefetch(items(), 8)
    assert [next(stream), next(stream)] == [1, 2]


def test_results_keep_the_order_of_their_items() -> None:
    def slow_for_even(item: int) -> int:
        time.sleep(0.002 * (item % 2 == 0))
        return -item

    assert list(map_ordered(slow_for_even, range(60), 4)) == [-item for item in range(60)]


def test_mapping_is_bounded() -> None:
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            drawn.append(item)
            yield item

    next(map_ordered(abs, items(), 2))
    assert len(drawn) == 4


def test_no_thread_outlives_its_stream() -> None:
    before = threading.active_count()
    stream = map_ordered(abs, prefetch(range(1000), 8), 4)
    next(stream)
    del stream
    assert threading.active_count() == before
