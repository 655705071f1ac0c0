"""Counts of a run that scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from shardsift.engine.coordinator import Outcome
from shardsift.engine.tally import Tally
from shardsift.records import PassedOver, ShardReport, StageSeconds


@dataclass
class ScoreTally(Tally):
    """Counts of a run that scores; its work is the bytes of tars.

    `further` are images that share a sample with the one that was scored.
    """

    noun: ClassVar[str] = "images"

    further: int = 0
    stages: dict[str, StageSeconds] = field(default_factory=dict[str, StageSeconds])

    def add(self, outcome: Outcome) -> None:
        """Count a shard, its images and errors, and the seconds of its stages."""
        super().add(outcome)
        if not isinstance(outcome, ShardReport):
            return
        self.items += outcome.rows + outcome.passed_over.get(PassedOver.FURTHER_IMAGES, 0)
        self.errors += sum(outcome.errors.values())
        self.further += outcome.passed_over.get(PassedOver.FURTHER_IMAGES, 0)
        self.work += outcome.bytes
        for stage, seconds in outcome.stages.items():
            self.stages[stage] = self.stages.get(stage, StageSeconds()) + seconds

    @property
    def pace(self) -> str:
        """How busy each stage was, and which one the others waited for; empty without a shard."""
        if not self.stages:
            return ""
        shares = {stage: seconds.share for stage, seconds in self.stages.items()}
        busy = ", ".join(f"{stage} {share:.0%}" for stage, share in shares.items())
        return f"busy: {busy}; {max(shares, key=lambda stage: shares[stage])} sets the pace"

    def notes(self, work_per_second: float | None) -> Sequence[str]:
        """Tell of images without a score."""
        return [f"{self.errors:,} without a score"] if self.errors else []
