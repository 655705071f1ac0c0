"""Two runs side by side as one HTML file: what each would keep, and which pictures change sides.

Suffixes: _N is the number of samples that both have scored, _P that of hundredths.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardsift.reporting.axes import choose_evenly
from shardsift.reporting.comparison import Comparison, Pairs
from shardsift.reporting.html import render_page
from shardsift.reporting.page import PAGE_BYTES
from shardsift.reporting.pictures import Fetching, Picture, bytes_each, describe, fetch, show
from shardsift.threads import Track, no_track

_SCRIPTS = ("drawing", "plane", "thumbs", "closer", "comparison")

_HUNDREDTHS = 100
_OF_EACH_SHARE = 8

Ranks = NDArray[np.uint8]
"""Number of the 99 quantiles that a quality reaches; a share s keeps 100 (1 - s) and more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shift:
    """Ranks of the samples in both runs.

    Attributes:
        places: of the pairs that have both scores.
        rank_a_N, rank_b_N: of each of them.
        counts_PP: histogram of ranks in A (first) and in B.
    """

    places: NDArray[np.intp]
    rank_a_N: Ranks
    rank_b_N: Ranks
    counts_PP: NDArray[np.int64]


def find_shift(pairs: Pairs) -> Shift:
    """Rank the samples of both runs, as `measure_overlap` cuts them."""
    a_N, b_N = pairs.a_CN[0], pairs.b_CN[0]
    places = np.flatnonzero(np.isfinite(a_N) & np.isfinite(b_N))
    rank_a_N, rank_b_N = (_rank(values[places].astype(np.float64)) for values in (a_N, b_N))
    joint_N = rank_a_N.astype(np.int64) * _HUNDREDTHS + rank_b_N
    counts = np.bincount(joint_N, minlength=_HUNDREDTHS**2)
    return Shift(
        places=places,
        rank_a_N=rank_a_N,
        rank_b_N=rank_b_N,
        counts_PP=counts.reshape(_HUNDREDTHS, _HUNDREDTHS),
    )


def _rank(values_N: NDArray[np.float64]) -> Ranks:
    # 1 - share, as everywhere else, so that the cuts are equal to the bit
    shares = np.arange(_HUNDREDTHS - 1, 0, -1) / _HUNDREDTHS
    lowest = np.quantile(values_N, 1 - shares)
    return np.searchsorted(lowest, values_N, side="right").astype(np.uint8)


class ComparisonPage:
    """Two runs, as a page shows them."""

    def __init__(self, pairs: Pairs, comparison: Comparison) -> None:
        """Rank the samples; no picture is fetched yet."""
        self.pairs = pairs
        self.comparison = comparison
        self.shift: Shift = find_shift(pairs)
        self.places: Sequence[int] = ()
        self.rows: Sequence[tuple[dict[str, Any], dict[str, Any]]] = ()
        self.pictures: Sequence[Picture] = ()
        self.problem: str | None = None

    def fetch(self, count: int, root: str | None, track: Track = no_track) -> None:
        """Fetch pictures that change sides or differ most; `problem` says why some are missing."""
        shift = self.shift
        change_N = self.pairs.b_CN[0][shift.places] - self.pairs.a_CN[0][shift.places]
        up_N = shift.rank_b_N.astype(np.int64) - shift.rank_a_N
        by_change = np.argsort(change_N, kind="stable")
        wanted = [by_change[: count // 5].tolist(), by_change[::-1][: count // 5].tolist()]
        for cut in range(5, _HUNDREDTHS, 5):
            for is_in, is_out in (
                (shift.rank_a_N, shift.rank_b_N),
                (shift.rank_b_N, shift.rank_a_N),
            ):
                sides = np.flatnonzero((is_in >= cut) & (is_out < cut))
                order = sides[np.argsort(-np.abs(up_N[sides]), kind="stable")]
                wanted.append(choose_evenly(order.tolist(), _OF_EACH_SHARE))
        chosen = _in_turn(wanted, count)
        self.places = self.shift.places[chosen].tolist() if chosen else []
        self.rows = self.pairs.read(self.places)
        how = Fetching(
            root=root,
            bytes_each=bytes_each(PAGE_BYTES, len(chosen)),
            reading=self.pairs.folders[0].reading,
        )
        self.pictures, self.problem = fetch([row for row, _ in self.rows], how, track)
        self._ranks = [
            (int(self.shift.rank_a_N[place]), int(self.shift.rank_b_N[place])) for place in chosen
        ]

    def render(self, keep_tops: Sequence[float]) -> str:
        """Render the page's HTML; it begins at the first of these shares."""
        urls = [folder.url for folder in self.pairs.folders]
        shares = sorted({min(max(round(_HUNDREDTHS * share), 1), 99) for share in keep_tops})
        data = {
            "pictures": list(self._shown(urls[0])),
            "counts": self.shift.counts_PP.ravel().tolist(),
            "shares": shares,
            "scale": {"low": 0, "high": 1},
        }
        return render_page(
            "comparison.html",
            _SCRIPTS,
            data,
            title="Two runs compared",
            urls=urls,
            c=self.comparison,
            problem=self.problem,
        )

    def _shown(self, url: str) -> Iterator[dict[str, Any]]:
        shown = zip(self.pictures, self.rows, self._ranks, strict=True)
        for at, (picture, (row_a, row_b), (rank_a, rank_b)) in enumerate(shown):
            a, b = row_a["quality"], row_b["quality"]
            yield show(url, picture, at=at) | {
                "label": f"{a:.3f} → {b:.3f}",
                "ranks": [rank_a, rank_b],
                "change": b - a,
                "facts": list(_both(row_a, row_b)),
            }


def _both(row_a: dict[str, Any], row_b: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the data of a picture, from both runs if they differ."""
    in_b = dict(describe(row_b, None))
    for name, value in describe(row_a, None):
        other = in_b.get(name, value)
        yield name, value if other == value else f"{value} in A, {other} in B"


def _in_turn(lists: Iterable[Sequence[int]], count: int) -> list[int]:
    """Return `count` different ones, one of each list in turn."""
    found: dict[int, None] = {}
    for place in chain.from_iterable(zip_longest(*lists)):
        if place is not None and len(found) < count:
            found[place] = None
    return list(found)
