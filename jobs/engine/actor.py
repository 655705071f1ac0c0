"""What runs on a GPU: an actor that turns shards into annotation files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ray

from jobs.engine.metrics import ActorMetrics
from pipeline.annotate import AnnotateSettings, annotate
from pipeline.errors import ModelError, ShardError
from pipeline.records import ShardReport, ShardTask

if TYPE_CHECKING:
    from pipeline.scoring.scorer import ImageScorer


@dataclass(frozen=True, kw_only=True, slots=True)
class ActorSettings:
    """How to make an actor: `make_scorer` is called in its process, once."""

    make_scorer: Callable[[], ImageScorer]
    annotate: AnnotateSettings
    gpus: float
    cpus: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where an actor sits."""

    node_id: str
    gpu_ids: tuple[str, ...]
    pid: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardTrouble:
    """A shard that could not be read or written; the actor itself is well."""

    reason: str


class ScoringActor:
    """Loads the model once, then scores one shard a call."""

    def __init__(self, settings: ActorSettings) -> None:
        # Pillow warns of every odd EXIF block; those images get rows, not log lines.
        warnings.filterwarnings("ignore", module="PIL")
        self._metrics = ActorMetrics()
        self._settings = settings.annotate
        self._scorer = settings.make_scorer()
        if self._scorer.fingerprint != self._settings.fingerprint:
            raise ModelError("the weights on this node differ from those on the driver's")

    def ready(self) -> Place:
        """Answer once the model is loaded."""
        context = ray.get_runtime_context()
        return Place(
            node_id=context.get_node_id(),
            gpu_ids=tuple(context.get_accelerator_ids()["GPU"]),
            pid=os.getpid(),
        )

    def process(self, task: ShardTask) -> ShardReport | ShardTrouble:
        """Score a shard and commit its annotation; counts only, rows stay in the file.

        Whatever else is raised leaves this process in doubt, and the coordinator restarts it.
        """
        try:
            report = annotate(task, self._scorer, self._settings)
        except ShardError as error:
            self._metrics.add_failed()
            return ShardTrouble(reason=error.problem)
        self._metrics.add_committed(report)
        return report
