"""The work of `score`: shards to annotation files."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shardsift.annotations.annotate import AnnotateSettings, annotate
from shardsift.errors import ModelError, ShardError
from shardsift.records import ShardReport, ShardTask
from shardsift.runs.metrics import ActorMetrics

if TYPE_CHECKING:
    from shardsift.scoring.scorer import ImageScorer


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringSettings:
    """How to make an actor that scores: `make_scorer` is called in its process, once."""

    make_scorer: Callable[[], ImageScorer]
    annotate: AnnotateSettings
    gpus: float
    cpus: float

    def make_work(self) -> Scoring:
        """Load the model."""
        return Scoring(self.make_scorer(), self.annotate)


class Scoring:
    """Scores a shard and commits its annotation; rows stay in the file."""

    def __init__(self, scorer: ImageScorer, settings: AnnotateSettings) -> None:
        # Pillow warns of every odd EXIF block; those images get rows, not log lines.
        warnings.filterwarnings("ignore", module="PIL")
        self._metrics = ActorMetrics()
        self._scorer = scorer
        self._settings = settings
        if scorer.fingerprint != settings.fingerprint:
            raise ModelError("the weights on this node differ from those on the driver's")

    def __call__(self, task: ShardTask) -> ShardReport:
        """Do it, and count it for Prometheus. Raises ShardError."""
        try:
            report = annotate(task, self._scorer, self._settings)
        except ShardError:
            self._metrics.add_failed()
            raise
        self._metrics.add_committed(report)
        return report
