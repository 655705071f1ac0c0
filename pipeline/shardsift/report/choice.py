"""Which pictures a page shows: over all qualities, sizes and parts, and where cues disagree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from shardsift.report.axes import Axis, Labels, choose_evenly
from shardsift.report.gather import RunData
from shardsift.report.order import Places

_OF_LABEL = 6
"""Pictures of each part and format, over their qualities."""


def choose(
    run: RunData, order: Places, axes: Sequence[Axis], labels: Sequence[Labels], count: int
) -> list[int]:
    """Choose rows that can be shown, half of them at even ranks of quality.

    The others are those whose cues disagree most, and some over the range of each axis and of each
    label, in turn.
    """
    usable = order[_can_be_shown(run)[order]]
    if len(usable) <= count:
        return [int(place) for place in usable]
    wanted = [
        *_disagreeing(run, usable, count // 12),
        *(_over(axis, usable, count // 6) for axis in axes if axis.name != "quality"),
        *chain.from_iterable(_of_each(label, usable) for label in labels),
    ]
    in_turn = chain.from_iterable(zip_longest(*wanted))
    others = (place for place in in_turn if place is not None)
    spread = choose_evenly(usable, count // 2)
    filling = choose_evenly(usable, count)
    chosen = _first(chain(spread, others, filling), count)
    rank_N = np.empty(len(order), np.intp)
    rank_N[order] = np.arange(len(order))
    return sorted(chosen, key=lambda place: rank_N[place])


def _can_be_shown(run: RunData) -> NDArray[np.bool_]:
    offset_N, size_N = run.numbers("tar_offset"), run.numbers("tar_size")
    return np.isfinite(offset_N) & np.isfinite(size_N) & np.isfinite(run.numbers("quality"))


def _disagreeing(run: RunData, usable: Places, count: int) -> list[list[int]]:
    """Pick rows of high `q_sim` and low `q_mag`, the other way round, and of unlike crops."""
    q_sim, q_mag = (rankdata(run.numbers(name)[usable]) for name in ("q_sim", "q_mag"))
    spread = np.nan_to_num(run.numbers("quality_std")[usable])
    return [
        usable[np.argsort(-gap, kind="stable")[:count]].tolist()
        for gap in (q_sim - q_mag, q_mag - q_sim, spread)
    ]


def _over(axis: Axis, usable: Places, count: int) -> list[int]:
    """Pick rows over the bins of an axis, those of the rarest bins first."""
    codes = axis.codes_N[usable]
    bins, sizes = np.unique(codes, return_counts=True)
    rarest_first = bins[np.argsort(sizes, kind="stable")]
    picked = (choose_evenly(usable[codes == code], 2) for code in rarest_first)
    in_turn = chain.from_iterable(zip_longest(*picked))
    return [int(place) for place in in_turn if place is not None][:count]


def _of_each(label: Labels, usable: Places) -> list[list[int]]:
    codes = label.codes_N[usable]
    return [choose_evenly(usable[codes == code], _OF_LABEL) for code in range(len(label.names))]


def _first(places: Iterable[int], count: int) -> list[int]:
    """Take different ones, so many."""
    found: dict[int, None] = {}
    for place in places:
        if len(found) == count:
            break
        found[int(place)] = None
    return list(found)
