"""Ctrl-C and SIGTERM: the first lets a run end well, the second stops it at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def on_interrupt(finish: Callable[[], None]) -> Generator[None]:
    """Let the first signal call `finish`, and the next raise KeyboardInterrupt, in the block.

    For the main thread alone, which is where Python handles signals.
    """
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def first(number: int, frame: FrameType | None) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.default_int_handler)
        finish()

    for number in _SIGNALS:
        signal.signal(number, first)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
