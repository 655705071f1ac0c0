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

from shardsift.filter.rows import worst_first
from shardsift.report.axes import Axis, Labels
from shardsift.report.gather import RunData

Places = NDArray[np.intp]


def order_of(run: RunData) -> Places:
    """Return the places of rows in their order, the worst first."""
    return worst_first(run.table)


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
    bits = (quality_N[:scored] + np.float32(0)).view("<u4")  # -0.0 is 0.0
    ranks = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype("<u4")
    steps = np.diff(ranks, prepend=np.zeros(1, "<u4"))
    planes = [steps.view(np.uint8).reshape(-1, 4).T.ravel()]
    planes += [column.codes_N[order] for column in (*axes, *labels)]
    data = zlib.compress(np.concatenate(planes).tobytes(), 9)
    return {"rows": len(order), "scored": scored, "data": base64.b64encode(data).decode()}
