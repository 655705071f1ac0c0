"""Agreement with ratings, separately in low, middle and high quality.

The paper finds that similarity ranks good pictures, and magnitude bad ones. N in shapes: images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shardsift.evaluation.statistics import MIN_IMAGES, Estimate, Values, bounds_of, srcc

NAMES = ("low", "middle", "high")


@dataclass(frozen=True, kw_only=True, slots=True)
class Third:
    """A third of the images, by opinion.

    Attributes:
        lowest, highest: opinions in it.
        srcc: of each method.
    """

    name: str
    images: int
    lowest: float
    highest: float
    srcc: Mapping[str, Estimate]


def agreement_by_third(
    predictions: Mapping[str, Values], opinions_N: Values, *, higher_is_worse: bool, resamples: int
) -> list[Third]:
    """Compute SRCC in each third, with bootstrap intervals; nothing of fewer than 24 images."""
    if len(opinions_N) < len(NAMES) * MIN_IMAGES:
        return []
    better_N = -opinions_N if higher_is_worse else opinions_N
    parts = np.array_split(np.argsort(better_N, kind="stable"), len(NAMES))
    return [
        Third(
            name=name,
            images=len(part),
            lowest=float(opinions_N[part].min()),
            highest=float(opinions_N[part].max()),
            srcc={
                method: estimate_srcc(values_N[part], better_N[part], resamples=resamples)
                for method, values_N in predictions.items()
            },
        )
        for name, part in zip(NAMES, parts, strict=True)
    ]


def estimate_srcc(
    predictions: ArrayLike, opinions: ArrayLike, *, resamples: int = 0, seed: int = 0
) -> Estimate:
    """Compute only SRCC, with its bootstrap interval; NaN if all values of one side are equal.

    Predictions that are not finite are left out.
    """
    x_N, y_N = (np.asarray(values, np.float64) for values in (predictions, opinions))
    finite_N = np.isfinite(x_N)
    x_N, y_N = x_N[finite_N], y_N[finite_N]

    def drawn(places_N: NDArray[np.int64]) -> float:
        return srcc(x_N[places_N], y_N[places_N])

    low, high = bounds_of(drawn, len(x_N), resamples, seed)
    return Estimate(value=srcc(x_N, y_N), low=low, high=high)
