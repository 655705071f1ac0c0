"""Progress for people: one line that is redrawn on a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from math import floor
from threading import Event, Thread
from time import monotonic
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Column

from shardsift.progress import Snapshot, TakeSnapshot

_DRAW_SECONDS = 0.5
_LOOK_SECONDS = 1.0
_LOG_SECONDS = (10.0, 60.0)
_OFTEN_SECONDS = 120.0

logger: Final = logging.getLogger(__name__)


@contextmanager
def showing_progress(
    console: Console,
    snapshot: TakeSnapshot,
    *,
    is_drawn: bool,
    log_seconds: tuple[float, float] = _LOG_SECONDS,
) -> Generator[None]:
    """Show what `snapshot` returns as long as the block lasts: drawn, or as log lines.

    `log_seconds` lie between two lines, in the first minutes and later.
    """
    ended = Event()
    show = partial(_draw, console) if is_drawn else partial(_log, *log_seconds)
    thread = Thread(target=show, args=(snapshot, ended), name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _draw(console: Console, snapshot: TakeSnapshot, ended: Event) -> None:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=console.width // 6),
        TextColumn("{task.fields[text]}", markup=False, table_column=Column(no_wrap=True, ratio=1)),
    )
    with Progress(*columns, console=console, transient=True, expand=True) as drawn:
        task = drawn.add_task("", text="")
        while not ended.is_set():
            shown = snapshot()
            drawn.update(
                task,
                description=shown.doing,
                total=None if shown.share is None else 1.0,
                completed=shown.share or 0.0,
                text=" · ".join(parts_of(shown)),
            )
            ended.wait(_DRAW_SECONDS)


def _log(often: float, seldom: float, snapshot: TakeSnapshot, ended: Event) -> None:
    started = logged = monotonic()
    while not ended.wait(min(_LOOK_SECONDS, often)):
        shown = snapshot()  # read more often than logged, for an exact speed
        now = monotonic()
        if now - logged >= (often if logged - started < _OFTEN_SECONDS else seldom):
            logged = now
            logger.info("%s", as_log_line(shown))


def parts_of(shown: Snapshot) -> list[str]:
    """List the known parts, the most important first, as the end of a line may be cut."""
    about = "~" if shown.is_estimate else ""
    of = f"/{about}{shown.total:,}" if shown.total else ""
    items = f"{shown.items:,}{of} {shown.noun}".rstrip() if of or shown.noun else ""
    parts = [
        "" if shown.share is None else f"{floor(shown.share * 100)}%",
        "" if shown.left is None else f"~{duration(shown.left)} left",
        items,
        *shown.notes,
        "" if shown.rate is None else f"{_rate(shown.rate)}/s",
    ]
    return [part for part in parts if part]


def as_log_line(shown: Snapshot) -> str:
    """Join all that is known, for a line of a log."""
    text = ", ".join(parts_of(shown))
    return f"{shown.doing}: {text}" if text else shown.doing


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def duration(seconds: float) -> str:
    """Write seconds as `0:01:12`, with days before them if there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    clock = f"{hours}:{minutes:02}:{rest:02}"
    return f"{days} d {clock}" if days else clock
