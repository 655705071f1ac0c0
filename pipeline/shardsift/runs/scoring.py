"""The work of `score`: shards to annotation files."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from shardsift.annotations.annotate import annotate
from shardsift.config import PICTURE_SECONDS, RunConfig
from shardsift.engine.metrics import ActorMetrics
from shardsift.errors import ShardError
from shardsift.images.decoder import Decoder
from shardsift.images.pool import make_decoder
from shardsift.measures import MACLIP, Measure
from shardsift.progress import Meter
from shardsift.records import ShardReport, ShardTask
from shardsift.storage.lease import Lease

if TYPE_CHECKING:
    from shardsift.scoring.clip import ClipModel
    from shardsift.scoring.scorer import ImageScorer, Scorer
    from shardsift.scoring.warm_up import WarmUp


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringSpec:
    """An actor that scores: its work, and the resources it takes.

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
        """True if the next shard is opened and decoded before a GPU has ended one."""
        return self.gpus > 0

    def make_work(self) -> Scoring:
        """Load the model onto its device. Raises DeviceError if it can't compute there."""
        # Pillow warns of every odd EXIF block; such images get rows, no log lines.
        warnings.filterwarnings("ignore", module="PIL")
        scorer = self.make_scorer()
        for measure in self.measures:
            measure.to("cuda" if self.gpus else "cpu")
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
        self.meter: Meter = Meter()

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


# --- MA-CLIP: loaded by the driver, put to work by actors; torch is imported where it is used -----


@dataclass(frozen=True, kw_only=True)
class MaClip:
    """A model, and its expected results for the pictures of the warm-up."""

    fingerprint: str
    model: ClipModel
    expected: WarmUp

    def scorer(self, config: RunConfig, device: str) -> Scorer:
        """Make a scorer on a device, and try it. Raises DeviceError."""
        from shardsift.scoring.devices import use_cores
        from shardsift.scoring.scorer import Scorer
        from shardsift.scoring.warm_up import warm_up

        use_cores(config.cpus_per_actor or 1)
        scorer = Scorer(
            config.scoring(),
            embeddings=MACLIP in config.embeddings,
            device=device,
            batch_size=config.batch_size,
            loaded=self.model,
        )
        if device != "cpu":
            warm_up(scorer, self.expected)
        return scorer


def load_maclip(config: RunConfig) -> MaClip:
    """Load the model that a run scores by. Raises ModelError."""
    from shardsift.scoring.clip import load_clip
    from shardsift.scoring.warm_up import rehearse

    scoring = config.scoring()
    model = load_clip(scoring, config.asked_of(MACLIP))
    return MaClip(
        fingerprint=scoring.fingerprint(model.digest),
        model=model,
        expected=rehearse(scoring, model),
    )
