"""What an actor tells Prometheus, through Ray's own exporter: sums, never a series for a shard.

Ray puts `ray_` before each name, and says of which node and worker a number is.
"""

from __future__ import annotations

from ray.util.metrics import Counter, Histogram

from shardsift.records import ShardReport

_SHARD_SECONDS = [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0]


class ActorMetrics:
    """Counts of one actor; make it in the actor's process."""

    def __init__(self) -> None:
        self._images = Counter(
            "shardsift_images",
            description="Samples annotated, by `status`: scored, or the error of their row.",
            tag_keys=("status",),
        )
        self._shards = Counter(
            "shardsift_shards",
            description="Shards by `status`: committed, or failed for an attempt that went wrong.",
            tag_keys=("status",),
        )
        self._stage_seconds = Counter(
            "shardsift_stage_seconds",
            description="Seconds of each `stage`, by `state`: busy, or waiting for the others.",
            tag_keys=("stage", "state"),
        )
        self._shard_seconds = Histogram(
            "shardsift_shard_seconds",
            description="Seconds that a committed shard took.",
            boundaries=_SHARD_SECONDS,
        )

    def add_committed(self, report: ShardReport) -> None:
        """Count a shard whose annotation is there."""
        self._shards.inc(tags={"status": "committed"})
        counts = {"scored": report.rows - sum(report.errors.values()), **report.errors}
        for status, count in counts.items():
            if count:  # a counter takes no zero
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
