"""How far a run is: a bar on a terminal, plain log lines elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from pipeline.records import FailedShard, ShardReport, StageSeconds

_LOG_SECONDS = 10.0

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Tally:
    """Counts of a run, of what this process has seen."""

    shards_total: int
    shards: int = 0
    images: int = 0
    errors: int = 0
    failed: int = 0
    stages: dict[str, StageSeconds] = field(default_factory=dict[str, StageSeconds])
    started: float = field(default_factory=monotonic)

    def add(self, outcome: ShardReport | FailedShard) -> None:
        """Count one more shard."""
        self.shards += 1
        if isinstance(outcome, FailedShard):
            self.failed += 1
        else:
            self.images += outcome.rows
            self.errors += sum(outcome.errors.values())
            for stage, seconds in outcome.stages.items():
                self.stages[stage] = self.stages.get(stage, StageSeconds()) + seconds

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return monotonic() - self.started

    @property
    def images_per_second(self) -> float:
        """Mean over the whole run."""
        return self.images / max(self.seconds, 1e-9)

    @property
    def pace(self) -> str:
        """How busy each stage was, and which one the others waited for; empty without a shard."""
        if not self.stages:
            return ""
        shares = {stage: seconds.share for stage, seconds in self.stages.items()}
        busy = ", ".join(f"{stage} {share:.0%}" for stage, share in shares.items())
        return f"busy: {busy}; {max(shares, key=lambda stage: shares[stage])} sets the pace"

    def __str__(self) -> str:
        return (
            f"{self.shards:,}/{self.shards_total:,} shards, {self.images:,} images, "
            f"{self.images_per_second:,.1f} images/s, {self.errors:,} without a score, "
            f"{self.failed:,} failed"
        )


class Display(Protocol):
    """Shows a tally that has changed."""

    def __call__(self, tally: Tally) -> None:
        """Draw it, or don't yet."""
        ...


@contextmanager
def show_progress(console: Console, shards: int) -> Generator[Display]:
    """A display for a run of so many shards, until the block ends."""
    if console.is_terminal:
        with _bar(console) as bar:
            task = bar.add_task("starting actors", total=shards, detail="")

            def draw(tally: Tally) -> None:
                detail = _detail(tally)
                bar.update(task, completed=tally.shards, description="scoring", detail=detail)

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
        TextColumn("{task.fields[detail]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def _detail(tally: Tally) -> str:
    parts = [f"{tally.images:,} images", f"{tally.images_per_second:,.1f} images/s"]
    if tally.errors:
        parts.append(f"[yellow]{tally.errors:,} without a score[/]")
    if tally.failed:
        parts.append(f"[red]{tally.failed:,} failed[/]")
    return " · ".join(parts)


def count(number: int, noun: str) -> str:
    """A number and its noun: `1 shard`, `1,234 shards`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
