"""Pictures that are equal by their hashes, as `filter --unique` would take them.

Suffix: _N is the number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shardsift.report.gather import RunData
from shardsift.report.order import Places

_GROUPS = 8
_MEMBERS = 6
_COLUMNS = ("phash", "sha256")


@dataclass(frozen=True, kw_only=True, slots=True)
class EqualPictures:
    """What has a copy among the rows that were read.

    Attributes:
        column: that they are equal by.
        copies: how many rows are no best of their group.
        groups: places of some groups' rows, the best one first.
        size_N: how many rows the group of each one has; 0 of those without a hash or a score.
    """

    column: str
    copies: int
    groups: Sequence[Sequence[int]]
    size_N: NDArray[np.int64]


def find_equal_pictures(run: RunData, order: Places) -> EqualPictures | None:
    """Find them, the largest groups first; None if no hashes were asked for."""
    is_scored_N = np.isfinite(run.numbers("quality"))
    for column in _COLUMNS:
        hashes = run.table[column].combine_chunks()
        counts_N = is_scored_N & hashes.is_valid().to_numpy(zero_copy_only=False)
        if counts_N.any():
            break
    else:
        return None
    best_first = order[::-1][counts_N[order[::-1]]]
    values_N = hashes.dictionary_encode().indices.fill_null(0).to_numpy()
    by_value = best_first[np.argsort(values_N[best_first], kind="stable")]
    groups = np.split(by_value, np.flatnonzero(np.diff(values_N[by_value])) + 1)
    several = sorted((group for group in groups if len(group) > 1), key=len, reverse=True)
    sizes = np.bincount(values_N[best_first], minlength=int(values_N.max()) + 1)
    return EqualPictures(
        column=column,
        copies=len(best_first) - len(groups),
        groups=[group[:_MEMBERS].tolist() for group in several[:_GROUPS]],
        size_N=np.where(counts_N, sizes[values_N], 0),
    )
