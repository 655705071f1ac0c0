"""The engine by itself: coordinator and actors, with any scorer."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from time import perf_counter

import numpy as np

from jobs.engine.actor import ActorSettings
from jobs.engine.coordinator import Coordinator
from jobs.engine.fleet import RayFleet
from pipeline.annotate import AnnotateSettings
from pipeline.records import ImageScore, RgbImage, ShardTask
from pipeline.scoring.scorer import ImageScorer

ScorerFactory = Callable[[], ImageScorer]


class GreyLevel:
    """In place of a model: the mean grey level of an image."""

    fingerprint = "grey"

    def score(self, images: Iterable[RgbImage]) -> Iterator[ImageScore]:
        """One crop an image, all cues alike."""
        for image in images:
            grey = np.array([image.mean() / 255], np.float32)
            yield ImageScore(quality=grey, q_sim=grey, q_mag=grey, w_sim=grey)


def time_coordinator(
    shards: Sequence[str], actors: int, make_scorer: ScorerFactory, fingerprint: str
) -> float:
    """Seconds for all shards, once every actor has scored one."""
    with tempfile.TemporaryDirectory() as folder:
        settings = ActorSettings(
            make_scorer=make_scorer,
            annotate=AnnotateSettings(
                output=folder,
                fingerprint=fingerprint,
                config={},
                decode_threads=2,
                max_pixels=10**8,
            ),
            gpus=0,
            cpus=1,
        )
        coordinator = Coordinator(
            RayFleet(settings),
            actors,
            max_attempts=1,
            shard_timeout=3600,
            find_committed=lambda _: None,
        )
        tasks = [
            ShardTask(url=shard, shard=Path(shard).name, annotation=f"{Path(shard).stem}.parquet")
            for shard in shards
        ]
        try:
            while len(coordinator.places) < actors:
                list(coordinator.run(tasks[: 2 * actors]))
            started = perf_counter()
            list(coordinator.run(tasks))
            return perf_counter() - started
        finally:
            coordinator.stop()
