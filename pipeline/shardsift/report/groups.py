"""Pictures that are equal by their hashes, as `filter --unique` would take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shardsift.annotations.ordering import tie_hashes
from shardsift.report.gather import RunData

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
    """

    column: str
    copies: int
    groups: Sequence[Sequence[int]]


def find_equal_pictures(run: RunData) -> EqualPictures | None:
    """Find them, the largest groups first; None if no hashes were asked for."""
    is_scored_N = np.isfinite(run.numbers("quality"))
    for column in _COLUMNS:
        hashes = run.table[column].combine_chunks()
        (places,) = np.nonzero(is_scored_N & hashes.is_valid().to_numpy(zero_copy_only=False))
        if len(places):
            break
    else:
        return None
    values = hashes.take(pa.array(places)).dictionary_encode().indices.to_numpy()
    order = np.argsort(values, kind="stable")
    groups = np.split(places[order], np.flatnonzero(np.diff(values[order])) + 1)
    several = sorted((g for g in groups if len(g) > 1), key=len, reverse=True)
    return EqualPictures(
        column=column,
        copies=sum(len(group) - 1 for group in several),
        groups=[_best_first(run, group)[:_MEMBERS] for group in several[:_GROUPS]],
    )


def _best_first(run: RunData, group: NDArray[np.intp]) -> list[int]:
    """Order rows as `filter` does."""
    table = run.table.select(["quality", "shard", "index"]).take(pa.array(group))
    rows = zip(table.to_pylist(), group, strict=True)
    ranked = [
        (
            row["quality"],
            int(tie_hashes(row["shard"], np.array([row["index"]], np.int32))[0]),
            place,
        )
        for row, place in rows
    ]
    return [int(place) for *_, place in sorted(ranked, reverse=True)]
