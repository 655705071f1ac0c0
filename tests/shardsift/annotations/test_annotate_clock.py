"""Seconds by stage."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread
from time import sleep

import pytest

from shardsift.annotations.annotate import StageClock


def test_stages_add_up_from_all_threads() -> None:
    clock = StageClock()

    def work() -> None:
        for _ in clock.iterate("read", (sleep(0.01) for _ in range(5))):
            sleep(0.01)  # what is done with an item counts for nobody

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.seconds["read"] >= 0.2
    assert clock.seconds.keys() == {"read"}


def test_a_stage_that_fails_counts_too() -> None:
    def failing() -> Iterator[None]:
        sleep(0.01)
        raise RuntimeError
        yield

    clock = StageClock()
    with pytest.raises(RuntimeError):
        list(clock.iterate("read", failing()))
    assert clock.seconds["read"] >= 0.01
