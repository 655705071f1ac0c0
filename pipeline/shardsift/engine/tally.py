"""What a run has done, counted by its driver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import ClassVar

from shardsift.engine.coordinator import Outcome
from shardsift.records import FailedShard


@dataclass
class Tally:
    """Counts of a run, of what this process has seen; each kind of run adds its own.

    `work` is what tells how far it is, mostly bytes; `work_total` is None if only the number of
    shards is known.
    """

    noun: ClassVar[str] = "samples"

    shards_total: int
    work_total: float | None = None
    shards: int = 0
    failed: int = 0
    items: int = 0
    errors: int = 0
    work: float = 0.0
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
    def per_second(self) -> float:
        """Items a second, over the whole run."""
        return self.items / max(self.seconds, 1e-9)

    def notes(self, work_per_second: float | None) -> Sequence[str]:
        """Tell what people want to know of a run beside how far it is."""
        return [f"{self.errors:,} errors"] if self.errors else []
