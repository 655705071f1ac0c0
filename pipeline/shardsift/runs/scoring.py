"""The work of `score`: shards to annotation files."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from shardsift.annotations.annotate import annotate
from shardsift.errors import ModelError, ShardError
from shardsift.records import ShardReport, ShardTask
from shardsift.runs.metrics import ActorMetrics
from shardsift.shards.decode_pool import make_decoder
from shardsift.shards.decoding import Decoder

if TYPE_CHECKING:
    from shardsift.scoring.scorer import ImageScorer


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringSpec:
    """How to make an actor that scores, and what it takes.

    `make_scorer` is called in the actor's process, once; its scorer has to have `fingerprint`.
    """

    make_scorer: Callable[[], ImageScorer]
    fingerprint: str
    output: str
    decode_workers: int
    gpus: float
    cpus: float

    @property
    def overlaps(self) -> bool:
        """Whether the next shard is opened and decoded before a GPU has ended one."""
        return self.gpus > 0

    def make_work(self) -> Scoring:
        """Load the model. Raises ModelError if its weights are others than the driver's."""
        # Pillow warns of every odd EXIF block; those images get rows, not log lines.
        warnings.filterwarnings("ignore", module="PIL")
        scorer = self.make_scorer()
        if scorer.fingerprint != self.fingerprint:
            raise ModelError("the weights on this node differ from those on the driver's")
        return Scoring(scorer, self.output, make_decoder(self.decode_workers, scorer.pin))


class Scoring:
    """Scores a shard and commits its annotation; rows stay in the file. Threads may share it."""

    def __init__(self, scorer: ImageScorer, output: str, decoder: Decoder) -> None:
        self._metrics = ActorMetrics()
        self._scorer = scorer
        self._output = output
        self._decoder = decoder
        self._turn = Lock()

    def __call__(self, task: ShardTask) -> ShardReport:
        """Annotate a shard, and count it for Prometheus. Raises ShardError."""
        try:
            report = annotate(task, self._scorer, self._output, self._decoder, self._turn)
        except ShardError:
            self._metrics.add_failed()
            raise
        self._metrics.add_committed(report)
        return report
