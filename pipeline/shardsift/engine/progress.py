"""How far a run is: a bar on a terminal, plain log lines elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from shardsift.engine.coordinator import Outcome
from shardsift.records import FailedShard

_LOG_SECONDS = 10.0

logger = logging.getLogger(__name__)


@dataclass
class Tally:
    """Counts of a run, of what this process has seen; each kind of run adds its own."""

    shards_total: int
    shards: int = 0
    failed: int = 0
    started: float = field(default_factory=monotonic)

    def add(self, outcome: Outcome) -> None:
        """Count one more shard."""
        self.shards += 1
        self.failed += isinstance(outcome, FailedShard)

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return monotonic() - self.started

    @property
    def numbers(self) -> Sequence[str]:
        """What there is of what, and how fast, for people."""
        return ()

    def __str__(self) -> str:
        parts = [f"{self.shards:,}/{self.shards_total:,} shards", *self.numbers]
        return ", ".join([*parts, f"{self.failed:,} failed"])


class Display(Protocol):
    """Shows a tally that has changed."""

    def __call__(self, tally: Tally) -> None:
        """Draw it, or don't yet."""
        ...


@contextmanager
def show_progress(console: Console, verb: str, shards: int) -> Generator[Display]:
    """Show how far a run of so many shards is, until the block ends; `verb` as in `scoring`."""
    if console.is_terminal:
        with _bar(console) as bar:
            task = bar.add_task("starting actors", total=shards, detail="")

            def draw(tally: Tally) -> None:
                detail = _detail(tally)
                bar.update(task, completed=tally.shards, description=verb, detail=detail)

            yield draw
    else:
        yield _LogLines()


class _LogLines:
    """A line every ten seconds at most, and one at the end."""

    def __init__(self) -> None:
        self._last = monotonic()

    def __call__(self, tally: Tally) -> None:
        if tally.shards < tally.shards_total and monotonic() - self._last < _LOG_SECONDS:
            return
        self._last = monotonic()
        left = (tally.shards_total - tally.shards) * tally.seconds / max(tally.shards, 1)
        logger.info("%s, %s left", tally, _duration(left))


def _bar(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} shards"),
        TextColumn("{task.fields[detail]}", markup=False),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def _detail(tally: Tally) -> str:
    failed = [f"{tally.failed:,} failed"] if tally.failed else []
    return " · ".join([*tally.numbers, *failed])


def count(number: int, noun: str) -> str:
    """Join a number and its noun: `1 shard`, `1,234 shards`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
