"""Counters for Prometheus, through Ray's own exporter: sums, never a series for a shard.

Ray puts `ray_` before each name, and says of which node and worker a number is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ray.util.metrics import Counter, Histogram

from shardsift.records import ShardReport


@dataclass(frozen=True)
class Metric:
    """A number for Prometheus; of a histogram the bounds of its buckets, in seconds."""

    name: str
    description: str
    tags: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()

    @property
    def exported(self) -> str:
        """Its name in Prometheus."""
        return f"ray_{self.name}" if self.bounds else f"ray_{self.name}_total"

    def make(self) -> Any:
        """Register it with Ray, in the process that will count."""
        if self.bounds:
            return Histogram(self.name, self.description, [*self.bounds], self.tags)
        return Counter(self.name, self.description, self.tags)


SHARDS = Metric(
    "shardsift_shards",
    "shards, by `status`: `committed`, or `failed` for a failed attempt",
    ("status",),
)
IMAGES = Metric(
    "shardsift_images", "samples, by `status`: `scored`, or the error of their row", ("status",)
)
STEPS = Metric(
    "shardsift_steps",
    "samples read and images scored, counted at once and not when their shard is committed; if "
    "it doesn't grow, work has stopped",
)
STAGE_SECONDS = Metric(
    "shardsift_stage_seconds",
    "seconds of each `stage` (`read`, `decode`, `score`, `write`), by `state`: `busy`, or "
    "`waiting` for other stages",
    ("stage", "state"),
)
SHARD_SECONDS = Metric(
    "shardsift_shard_seconds",
    "histogram of seconds per committed shard",
    bounds=(1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0),
)
METRICS = (SHARDS, IMAGES, STEPS, STAGE_SECONDS, SHARD_SECONDS)


class ActorMetrics:
    """Counts of one actor; make it in the actor's process."""

    def __init__(self) -> None:
        self._images = IMAGES.make()
        self._shards = SHARDS.make()
        self._stage_seconds = STAGE_SECONDS.make()
        self._shard_seconds = SHARD_SECONDS.make()

    def add_committed(self, report: ShardReport) -> None:
        """Count a shard whose annotation is there."""
        self._shards.inc(tags={"status": "committed"})
        counts = {"scored": report.rows - sum(report.errors.values()), **report.errors}
        for status, count in counts.items():
            if count:  # Prometheus counters refuse 0
                self._images.inc(count, tags={"status": status})
        for stage, seconds in report.stages.items():
            for state, spent in (("busy", seconds.busy), ("waiting", seconds.waiting)):
                if spent > 0:
                    self._stage_seconds.inc(spent, tags={"stage": stage, "state": state})
        if report.seconds:
            self._shard_seconds.observe(report.seconds)

    def add_failed(self) -> None:
        """Count an attempt that ended without an annotation."""
        self._shards.inc(tags={"status": "failed"})
