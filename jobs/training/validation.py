"""Validation: the ranks of distorted held-out photographs, as the scorer sees them.

Nothing else may end or select a training.

Shapes in names: P photographs, L levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from jobs.training.distortions import LEVELS, Distortion
from shardsift.records import RgbImage
from shardsift.scoring.scorer import ImageScorer
from shardsift.threads import Track, no_track


@dataclass(frozen=True, kw_only=True)
class Order:
    """Order of scores by the level of a distortion.

    A series is a photograph at all levels of one distortion; it is in order when each level scores
    less than the one before.

    Attributes:
        series: share of series in order.
        neighbours: share of neighbouring levels in order.
        srcc: Spearman's correlation of score and level over all photographs, sign turned.
    """

    series: float
    neighbours: float
    srcc: float


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Means over the distortions, each distortion's own order, and the fusion's mean weight.

    Attributes:
        quality, q_sim, q_mag: order of the fused score and of each cue.
        w_sim: mean weight of `q_sim`.
        by_distortion: order of `quality`.
    """

    quality: Order
    q_sim: Order
    q_mag: Order
    w_sim: float
    by_distortion: dict[str, Order]


def validate(
    scorer: ImageScorer,
    photos: Sequence[RgbImage],
    distortions: Mapping[str, Distortion],
    track: Track = no_track,
) -> Validation:
    """Score the photographs at every level of every distortion; `track` shows progress."""
    orders: list[tuple[Order, Order, Order]] = []
    weights: list[float] = []
    for number, distort in enumerate(track(distortions.values(), "distortions", len(distortions))):
        distorted = (
            distort(photo, level, np.random.default_rng([number, place]))
            for place, photo in enumerate(photos)
            for level in LEVELS
        )
        means = [
            [getattr(score, name) for name in ("quality", "q_sim", "q_mag", "w_sim")]
            for score in scorer.score(distorted)
        ]
        quality, q_sim, q_mag, w_sim = np.array(means, np.float64).T
        orders.append((_order(quality), _order(q_sim), _order(q_mag)))
        weights.append(float(w_sim.mean()))
    fused, similarity, magnitude = zip(*orders, strict=True)
    return Validation(
        quality=_mean(fused),
        q_sim=_mean(similarity),
        q_mag=_mean(magnitude),
        w_sim=float(np.mean(weights)),
        by_distortion=dict(zip(distortions, fused, strict=True)),
    )


def rank_correlation(a: ArrayLike, b: ArrayLike) -> float:
    """Compute Spearman's correlation of two rows of N numbers."""
    return float(cast(Any, stats.spearmanr(a, b)).statistic)


def _order(scores: NDArray[np.float64]) -> Order:
    scores_PL = scores.reshape(-1, len(LEVELS))
    falls = np.diff(scores_PL, axis=1) < 0.0
    levels = np.broadcast_to(LEVELS, scores_PL.shape).ravel()
    return Order(
        series=float(falls.all(axis=1).mean()),
        neighbours=float(falls.mean()),
        srcc=-rank_correlation(scores, levels),
    )


def _mean(orders: Sequence[Order]) -> Order:
    return Order(
        series=float(np.mean([order.series for order in orders])),
        neighbours=float(np.mean([order.neighbours for order in orders])),
        srcc=float(np.mean([order.srcc for order in orders])),
    )
