"""How far the magnitude cue differs between semantic groups, before and after Box-Cox.

A good cue tells quality and not content: the distributions of two groups should lie close. How far
apart they lie is their Wasserstein distance, in standard deviations of all values, because the
transform changes the scale.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import cast

import numpy as np
from scipy import stats

from shardsift.evaluation.statistics import Values

MIN_GROUP = 10
"""Smaller groups are left out."""

MAX_GROUPS = 10


@dataclass(frozen=True, kw_only=True)
class GroupSpread:
    """Values of each group, in standard deviations from the mean of all, and their distances.

    `distance_before` and `distance_after` are means over pairs of groups.
    """

    before: dict[str, Values]
    after: dict[str, Values]
    distance_before: float
    distance_after: float


def spread_between_groups(
    groups: Sequence[str], before_N: Values, after_N: Values
) -> GroupSpread | None:
    """Collect the largest groups' values; None with fewer than two groups of 10 images."""
    common = Counter(groups).most_common(MAX_GROUPS)
    names = [name for name, count in common if count >= MIN_GROUP]
    if len(names) < 2:
        return None
    member_GN = {name: np.array([group == name for group in groups]) for name in names}

    def by_group(values_N: Values) -> dict[str, Values]:
        scaled_N = (values_N - values_N.mean()) / (values_N.std() or 1.0)
        return {name: scaled_N[member_N] for name, member_N in member_GN.items()}

    before, after = by_group(before_N), by_group(after_N)
    return GroupSpread(
        before=before,
        after=after,
        distance_before=mean_distance(before),
        distance_after=mean_distance(after),
    )


def mean_distance(values: dict[str, Values]) -> float:
    """Average the Wasserstein distance over all pairs of groups."""
    pairs = combinations(values.values(), 2)
    return float(np.mean([cast(float, stats.wasserstein_distance(a, b)) for a, b in pairs]))
