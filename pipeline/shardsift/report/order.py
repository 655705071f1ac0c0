"""All rows of a page in one order, as bytes that a browser unpacks.

Rows go from the worst to the best, as `filter` orders them, ties included; those without a score
come last. So a threshold is a place in that order, and what it keeps of a selection can be counted.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardsift.annotations.ordering import rank, tie_hashes
from shardsift.report.axes import Axis, Labels
from shardsift.report.gather import RunData

Places = NDArray[np.intp]

_TO_32_BITS = np.uint64(32)


def order_of(run: RunData) -> Places:
    """Return the places of rows in their order, the worst first."""
    quality_N = run.numbers("quality").astype(np.float32)
    is_scored_N = np.isfinite(quality_N)
    ranks_N = rank(np.where(is_scored_N, quality_N, np.float32(np.inf)))
    return np.lexsort((_ties(run), ranks_N, ~is_scored_N))


def _ties(run: RunData) -> NDArray[np.uint64]:
    shards = run.table["shard"].combine_chunks()
    index_N = run.table["index"].to_numpy()
    shard_N = shards.indices.to_numpy()
    by_shard = np.argsort(shard_N, kind="stable")
    ends = np.flatnonzero(np.diff(shard_N[by_shard])) + 1
    names = shards.dictionary.to_pylist()
    hashes_N = np.empty(len(index_N), np.uint64)
    for rows in np.split(by_shard, ends):
        if len(rows):
            hashes_N[rows] = tie_hashes(names[shard_N[rows[0]]], index_N[rows])
    return hashes_N


def pack(
    run: RunData, order: Places, axes: Sequence[Axis], labels: Sequence[Labels]
) -> dict[str, Any]:
    """Pack the rows: a string of base64, and what is in it.

    The bytes, deflated: the qualities of scored rows as float32, turned into integers of the same
    order, of each the difference from the one before, all first bytes, all second ones and so on;
    then the codes of each axis and of each label, a byte a row.
    """
    quality_N = run.numbers("quality").astype(np.float32)[order]
    scored = int(np.isfinite(quality_N).sum())
    ranks = (rank(quality_N[:scored]) >> _TO_32_BITS).astype("<u4")
    steps = np.diff(ranks, prepend=np.zeros(1, "<u4"))
    planes = [steps.view(np.uint8).reshape(-1, 4).T.ravel()]
    planes += [column.codes_N[order] for column in (*axes, *labels)]
    data = zlib.compress(np.concatenate(planes).tobytes(), 9)
    return {"rows": len(order), "scored": scored, "data": base64.b64encode(data).decode()}
