"""Differences of the magnitude cue between semantic groups, before and after Box-Cox.

A good cue depends on quality and not on content, so its distributions in two groups should be
    similar. Their Wasserstein distance is measured in standard deviations of all values, because
    the transform changes the scale. N in shapes: images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from shardsift.errors import InputError
from shardsift.evaluation.statistics import Estimate, Values, bounds_of
from shardsift.scoring.weights import BUNDLED_MODEL

MIN_GROUP = 10
"""Smaller groups are left out."""

MAX_GROUPS = 10

_MIN_LABELS = 3
_MOST_OF_ALL = 0.8
"""A model that gives one label to more of the images, or fewer labels, can't tell them apart."""


@dataclass(frozen=True, kw_only=True)
class GroupSpread:
    """Values of each group, in standard deviations from the mean of all, and their distances.

    Attributes:
        distance_before, distance_after: means over pairs of groups.
        change: from before to after.
        source: origin of the groups.
    """

    before: dict[str, Values]
    after: dict[str, Values]
    distance_before: float
    distance_after: float
    change: Estimate
    source: str


def check_labels(labels: Sequence[str], model: str) -> None:
    """Raise InputError if a model's zero-shot labels tell nothing of what images show."""
    hint = "name the group of each sample's .json with --group-field"
    if model == BUNDLED_MODEL:
        raise InputError(f"{model} can't tell what a picture shows; {hint}")
    shares = Counter(labels).most_common()
    common = [label for label, count in shares if count >= MIN_GROUP]
    label, most = shares[0]
    if len(common) < _MIN_LABELS or most > _MOST_OF_ALL * len(labels):
        raise InputError(
            f"{model} sees {label} in {most:,} of {len(labels):,} pictures, so its labels tell "
            f"nothing of what they show; {hint}"
        )


def spread_between_groups(
    groups: Sequence[str], before_N: Values, after_N: Values, *, source: str, resamples: int = 0
) -> GroupSpread:
    """Compare the largest groups' values, at most ten; `change` gets a bootstrap interval.

    Raises:
        InputError: with fewer than two groups of 10 images.
    """
    common = Counter(groups).most_common(MAX_GROUPS)
    names = [name for name, count in common if count >= MIN_GROUP]
    if len(names) < 2:
        raise InputError(f"there are no two groups of {MIN_GROUP} images or more")
    places = {name: place for place, name in enumerate(names)}
    group_N = np.array([places.get(group, -1) for group in groups])
    before, after = (_by_group(values_N, group_N, names) for values_N in (before_N, after_N))
    distances = mean_distance(before), mean_distance(after)

    def change_of(images_N: NDArray[np.int64]) -> float:
        drawn = group_N[images_N]
        parts = (_by_group(values_N[images_N], drawn, names) for values_N in (before_N, after_N))
        first, second = map(mean_distance, parts)
        return second - first

    low, high = bounds_of(change_of, len(group_N), resamples)
    return GroupSpread(
        before=before,
        after=after,
        distance_before=distances[0],
        distance_after=distances[1],
        change=Estimate(value=distances[1] - distances[0], low=low, high=high),
        source=source,
    )


def mean_distance(values: Mapping[str, Values]) -> float:
    """Average the Wasserstein distance over all pairs of groups that have a value."""
    pairs = combinations([own for own in values.values() if len(own)], 2)
    return float(np.mean([cast(float, stats.wasserstein_distance(a, b)) for a, b in pairs]))


def _by_group(
    values_N: Values, group_N: NDArray[np.int64], names: Sequence[str]
) -> dict[str, Values]:
    scaled_N = (values_N - values_N.mean()) / (values_N.std() or 1.0)
    return {name: scaled_N[group_N == place] for place, name in enumerate(names)}
