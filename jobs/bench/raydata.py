"""A straightforward Ray Data pipeline, to time the engine against: read, decode, score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from shardsift.scoring.scorer import ImageScorer

_BATCH = 64
_CORES_EACH = 0.5
"""Of an actor: with a core each, two would leave a machine of two cores none to read with."""


class ScoreBatch:
    """What a pool of Ray Data actors maps over batches of decoded images."""

    def __init__(self, make_scorer: Callable[[], ImageScorer]) -> None:
        self._scorer = make_scorer()

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return keys and mean scores of a batch."""
        quality = [float(score.quality.mean()) for score in self._scorer.score(batch["jpg"])]
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
