"""The engine by itself: coordinator and actors, with any scorer."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from types import MappingProxyType
from typing import Any

import numpy as np
import ray
import torch
from numpy.typing import NDArray

from jobs.bench.corpus import MODEL, write_shard
from shardsift.config import Attributes, ScoreConfig
from shardsift.engine.coordinator import Coordinator
from shardsift.engine.fleet import RayFleet
from shardsift.images.slabs import Bytes, Unpin, leave
from shardsift.records import CropScores, ImageScore, RgbImage, ShardTask
from shardsift.runs.scoring import ScoringSpec
from shardsift.scoring.scorer import ImageScorer, Scorer

_BATCH = 64
_CORES_EACH = 0.5
"""Cores of an actor: with one each, two would leave a machine of two cores none for reading."""


class ScoreBatch:
    """Function of a pool of Ray Data actors over batches of decoded images."""

    def __init__(self, make_scorer: Callable[[], ImageScorer]) -> None:
        self._scorer = make_scorer()

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return keys and mean scores of a batch."""
        quality = [score.quality for score in self._scorer.score(batch["jpg"])]
        return {"key": batch["__key__"], "quality": np.array(quality, np.float32)}


def time_ray_data(
    shards: Sequence[str], actors: int, make_scorer: Callable[[], ImageScorer]
) -> float:
    """Time all shards in seconds, the pipeline's start among them; nothing is written.

    The start can't be told from the work: it varies by more than small shards take.
    """
    ray.data.DataContext.get_current().enable_progress_bars = False
    _run(shards[:actors], actors, make_scorer)  # the first run of a session imports, too
    return _run(shards, actors, make_scorer)


def _run(shards: Sequence[str], actors: int, make_scorer: Callable[[], ImageScorer]) -> float:
    started = perf_counter()
    scored = ray.data.read_webdataset(list(shards)).map_batches(
        ScoreBatch,
        fn_constructor_args=(make_scorer,),
        batch_size=_BATCH,
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=_CORES_EACH,
    )
    for _ in scored.iter_batches(batch_size=None):
        pass
    return perf_counter() - started


ScorerFactory = Callable[[], ImageScorer]


@dataclass(frozen=True, kw_only=True)
class Load:
    """Shards, and images in each of them."""

    shards: int
    images: int


class GreyLevel:
    """A scorer without a model: the mean grey level of an image."""

    config = ScoreConfig()
    fingerprint = "grey"
    attributes: Attributes = MappingProxyType({})
    embedding_values = 0

    def score(self, images: Iterable[RgbImage]) -> Iterator[ImageScore]:
        """Yield scores of one crop an image, all cues alike."""
        for image in images:
            grey = np.array([image.mean() / 255], np.float32)
            crops = CropScores(quality=grey, q_sim=grey, q_mag=grey, w_sim=grey)
            yield ImageScore(per_crop=crops)

    def pin(self, memory: Bytes) -> Unpin:
        """Do nothing: no GPU copies from the memory."""
        return leave(memory)


def measure_dispatch(scratch: Path, load: Load) -> dict[str, float]:
    """Measure shards a second of our engine and of a plain Ray Data pipeline, without a model."""
    shards = _write(scratch, load, 128, 96)
    ours = time_coordinator(shards, 2, GreyLevel)
    theirs = time_ray_data(shards, 2, GreyLevel)
    of = f"shards/s of {load.images:,} images, model left out"
    return {
        of: load.shards / ours,
        f"{of}: Ray Data, its start included": load.shards / theirs,
    }


def measure_second_actor(scratch: Path, load: Load, weights: str, size: tuple[int, int]) -> float:
    """Measure the speed of two actors of one thread, compared with one."""
    shards = _write(scratch, load, *size)
    config = ScoreConfig(model=MODEL, pretrained=weights)
    make_scorer = partial(_one_core, config)
    one, two = (time_coordinator(shards, actors, make_scorer) for actors in (1, 2))
    return one / two


def time_coordinator(shards: Sequence[str], actors: int, make_scorer: ScorerFactory) -> float:
    """Time all shards in seconds, once every actor has scored one."""
    with tempfile.TemporaryDirectory() as folder:
        spec = ScoringSpec(
            make_scorer=make_scorer,
            output=folder,
            decode_workers=0,
            gpus=0,
            cpus=1,
        )
        coordinator = Coordinator(
            RayFleet(spec),
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


def _write(scratch: Path, load: Load, width: int, height: int) -> list[str]:
    name = f"{width}x{height}-{load.images}"
    return [
        str(write_shard(scratch / f"{name}-{number}.tar", load.images, width, height))
        for number in range(load.shards)
    ]


def _one_core(config: ScoreConfig) -> Scorer:
    torch.set_num_threads(1)
    return Scorer(config)
