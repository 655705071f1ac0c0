"""The work of `score`: shards to annotation files."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from shardsift.annotations.annotate import annotate
from shardsift.config import PICTURE_SECONDS
from shardsift.errors import ShardError
from shardsift.measures import Measure
from shardsift.progress import Meter
from shardsift.records import ShardReport, ShardTask
from shardsift.runs.metrics import ActorMetrics
from shardsift.shards.decode_pool import make_decoder
from shardsift.shards.decoding import Decoder
from shardsift.storage.lease import Lease

if TYPE_CHECKING:
    from shardsift.scoring.scorer import ImageScorer


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringSpec:
    """How to make an actor that scores, and what it takes.

    `make_scorer` is called in the actor's process, once.
    """

    make_scorer: Callable[[], ImageScorer]
    output: str
    decode_workers: int
    gpus: float
    cpus: float
    picture_timeout: float = PICTURE_SECONDS
    measures: Sequence[Measure] = ()
    lease: Lease | None = None

    @property
    def overlaps(self) -> bool:
        """Whether the next shard is opened and decoded before a GPU has ended one."""
        return self.gpus > 0

    def make_work(self) -> Scoring:
        """Put the model where it computes. Raises DeviceError if it can't compute there."""
        # Pillow warns of every odd EXIF block; those images get rows, not log lines.
        warnings.filterwarnings("ignore", module="PIL")
        scorer = self.make_scorer()
        decoder = make_decoder(self.decode_workers, scorer.pin)
        return Scoring(scorer, decoder, self)


class Scoring:
    """Scores a shard and commits its annotation; rows stay in the file. Threads may share it."""

    def __init__(
        self,
        scorer: ImageScorer,
        decoder: Decoder,
        spec: ScoringSpec,
    ) -> None:
        self._metrics = ActorMetrics()
        self._scorer = scorer
        self._decoder = decoder
        self._spec = spec
        self._turn = Lock()
        self.meter = Meter()
        self._metrics.follow(self.meter)

    def __call__(self, task: ShardTask) -> ShardReport:
        """Annotate a shard, and count it for Prometheus. Raises ShardError."""
        try:
            report = annotate(
                task,
                self._scorer,
                self._spec.output,
                self._decoder,
                self._turn,
                self.meter,
                self._spec.measures,
                self._spec.picture_timeout,
                self._spec.lease,
            )
        except ShardError:
            self._metrics.add_failed()
            raise
        self._metrics.add_committed(report)
        return report
