"""Counts of a run that scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shardsift.engine.coordinator import Outcome
from shardsift.engine.progress import Tally
from shardsift.records import ShardReport, StageSeconds


@dataclass
class ScoreTally(Tally):
    """Counts of a run that scores."""

    images: int = 0
    errors: int = 0
    stages: dict[str, StageSeconds] = field(default_factory=dict[str, StageSeconds])

    def add(self, outcome: Outcome) -> None:
        """Count a shard, its images and errors, and the seconds of its stages."""
        super().add(outcome)
        if not isinstance(outcome, ShardReport):
            return
        self.images += outcome.rows
        self.errors += sum(outcome.errors.values())
        for stage, seconds in outcome.stages.items():
            self.stages[stage] = self.stages.get(stage, StageSeconds()) + seconds

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

    @property
    def numbers(self) -> Sequence[str]:
        """Images, their speed, and those without a score."""
        parts = [f"{self.images:,} images", f"{self.images_per_second:,.1f} images/s"]
        return [*parts, f"{self.errors:,} without a score"] if self.errors else parts
