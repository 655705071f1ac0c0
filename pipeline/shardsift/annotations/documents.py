"""What the JSON files of a `score` run and of `compact` hold."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from shardsift.config import Extras
from shardsift.documents import Document


class RunRecord(Document):
    """What `_run.json` holds: every annotation of its folder was made with this configuration.

    `extras` are what they hold beside scores; `weights` is a sum of the files that the model was
    loaded from, if it was. If the corpus `has_moved` since some of it was scored, only the sizes of
    shards tell whether they are the same.
    """

    fingerprint: str
    config: dict[str, Any]
    extras: Extras = Extras()
    root: str
    inputs: tuple[str, ...]
    version: str
    weights: str | None = None
    has_moved: bool = False


class StageTimes(Document):
    """Seconds in which a stage worked, and in which it waited."""

    busy: float
    waiting: float


class RunSummary(Document):
    """What `_summary.json` holds: counts of all shards, and the pace of the last run.

    `manifest` is the SHA-256 of the manifest that the counts are of.
    """

    shards: int
    failed_shards: int
    rows: int
    scored: int
    errors: dict[str, int]
    passed_over: dict[str, int]
    quality_quantiles: dict[str, float] | None
    manifest: str
    fingerprint: str
    actors: int
    seconds: float
    images_per_second: float
    stage_seconds: dict[str, StageTimes]


class CompactRecord(Document):
    """What `_compacting.json` holds: whose annotations these are, and SHA-256 sums of the files.

    There are no sums until all files are written.
    """

    annotations: str
    sums: dict[str, str] = Field(default_factory=dict[str, str])
