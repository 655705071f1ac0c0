"""How far work is, for people: a line that stays on a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from math import floor
from threading import Event, Thread
from time import monotonic

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table

from shardsift.progress import PROGRESS, Look, Snapshot

_DRAW_SECONDS = 0.5
_LOOK_SECONDS = 1.0
_LOG_SECONDS = (10.0, 60.0)
_OFTEN_SECONDS = 120.0
_LEAST_BAR, _WIDEST_BAR, _BAR_STEP = 8, 32, 4

logger = logging.getLogger(PROGRESS)


@contextmanager
def watching(
    console: Console,
    look: Look,
    *,
    is_drawn: bool,
    log_seconds: tuple[float, float] = _LOG_SECONDS,
) -> Generator[None]:
    """Show what `look` returns as long as the block lasts: drawn, or in lines of the log alone.

    `log_seconds` are those between two lines: in the first minutes, and later.
    """
    ended = Event()
    show = partial(_draw, console) if is_drawn else _log
    arguments = look, ended, _Log(log_seconds)
    thread = Thread(target=show, args=arguments, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class _Log:
    """Logs once in a while how far something is."""

    def __init__(self, seconds: tuple[float, float]) -> None:
        self._often, self._seldom = seconds
        self._started = self._last = monotonic()

    @property
    def pause(self) -> float:
        """Seconds until the next line."""
        is_new = self._last - self._started < _OFTEN_SECONDS
        return max(0.0, self._last + (self._often if is_new else self._seldom) - monotonic())

    def add(self, shown: Snapshot) -> None:
        """Log it, if the time for it has come."""
        if not self.pause:
            self._last = monotonic()
            logger.info("%s", as_log_line(shown))


def _draw(console: Console, look: Look, ended: Event, log: _Log) -> None:
    spinner = Spinner("dots")
    with Live(console=console, transient=True) as live:
        while not ended.is_set():
            shown = look()
            live.update(_drawn(spinner, shown, console.width))
            log.add(shown)  # for a log file; the terminal has the drawn line
            ended.wait(_DRAW_SECONDS)


def _log(look: Look, ended: Event, log: _Log) -> None:
    while not ended.wait(min(log.pause, _LOOK_SECONDS)):
        log.add(look())  # more often than it is logged, so that its speed is right


def _drawn(spinner: Spinner, shown: Snapshot, width: int) -> Table:
    """Draw spinner, bar and text on one line of a terminal, whatever its width."""
    text = fitting(shown, width - len(shown.doing) - 4)
    row = Table.grid(padding=(0, 1))
    free = width - len(shown.doing) - len(text) - 5
    bar_width = min(_WIDEST_BAR, free // _BAR_STEP * _BAR_STEP)  # so that it seldom changes
    if shown.share is None or bar_width < _LEAST_BAR:
        row.add_row(spinner, shown.doing, text)
    else:
        bar = ProgressBar(total=1.0, completed=shown.share, width=bar_width)
        row.add_row(spinner, shown.doing, bar, text)
    return row


def fitting(shown: Snapshot, width: int) -> str:
    """Put into one line what is known, leaving out what matters least until it fits."""
    parts = _parts(shown)
    for least in ("notes", "total", "rate", "items", "last", "left", "share"):
        text = " · ".join(part for _, part in parts if part)
        if len(text) <= width:
            return text
        if least == "total":
            items = _items(shown, None)
            parts = [(name, items if name == "items" else part) for name, part in parts]
        else:
            parts = [(name, part) for name, part in parts if name != least]
    return ""


def as_log_line(shown: Snapshot) -> str:
    """Put all that is known into a line of a log."""
    text = ", ".join(part for _, part in _parts(shown) if part)
    return f"{shown.doing}: {text}" if text else shown.doing


def _parts(shown: Snapshot) -> list[tuple[str, str]]:
    """List what is to be shown, in order, and what each is."""
    *notes, last = shown.notes or [""]
    return [
        ("share", "" if shown.share is None else f"{floor(shown.share * 100)}%"),
        ("items", _items(shown, shown.total)),
        ("rate", "" if shown.rate is None else f"{_rate(shown.rate)}/s"),
        ("left", "" if shown.left is None else f"{duration(shown.left)} left"),
        *(("notes", note) for note in notes),
        ("last", last),
    ]


def _items(shown: Snapshot, total: int | None) -> str:
    about = "~" if shown.is_estimate else ""
    of = f"/{about}{total:,}" if total else ""
    return f"{shown.items:,}{of} {shown.noun}".rstrip() if of or shown.noun else ""


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def duration(seconds: float) -> str:
    """Write seconds as `0:01:12`, with days before them if there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    clock = f"{hours}:{minutes:02}:{rest:02}"
    return f"{days} d {clock}" if days else clock
