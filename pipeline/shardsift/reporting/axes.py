"""The numbers and labels of rows that a page can select by, and all rows packed for its script.

Numbers are cut into bins so that SQL can say the same. Rows go from the worst to the best, as
`filter` orders them, ties included; those without a score come last. So a threshold is a position
in that order, and the kept rows of a selection can be counted.

Suffix: _N is the number of rows.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shardsift.columns import is_known, named
from shardsift.filtering.database import quoted
from shardsift.filtering.rows import worst_first
from shardsift.reporting.gather import RunData
from shardsift.shards.plan import TOP

Codes = NDArray[np.uint8]

NO_VALUE = 255
"""The code of a row that has no value."""

_MOST_LABELS = 200
_MOST_BINS = 60
_SPREAD_OUT = 4
"""Ratio of largest to smallest size above which bins have equal ratios, not equal widths."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """A number of rows, cut into bins.

    Attributes:
        name: in the address of a view. label: for people.
        sql: the number as an expression on columns of annotations.
        edges: edges between bins: bin 0 is below the first, bin n begins with edge n - 1. A value
            that equals an edge, in float32, belongs to the upper bin, as in `filter --where`.
        unit: size of the displayed unit, such as the pixels of a megapixel.
        codes_N: the bin of each row.
    """

    name: str
    label: str
    sql: str
    edges: Sequence[float]
    unit: int = 1
    codes_N: Codes


@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """A label of rows, such as their group.

    Attributes:
        sql: the label as an expression on columns of annotations, or of a joined file.
        names: for people. literals: the same in SQL, None for null.
        codes_N: the place of each row's label in `names`; those of rare ones are `NO_VALUE`.
        rare: number of labels without a place.
    """

    name: str
    label: str
    sql: str
    names: Sequence[str]
    literals: Sequence[str | None]
    codes_N: Codes
    rare: int = 0


def make_axes(run: RunData) -> list[Axis]:
    """Cut whatever numbers the rows have."""
    width_N, height_N = run.numbers("width"), run.numbers("height")
    declared = [
        *named("quality", "q_sim", "q_mag", "quality_min", "quality_std"),
        *(column for column in run.further if column.is_number),
    ]
    sizes = {
        "side": ("shorter side, px", "least(width, height)", np.minimum(width_N, height_N), 1),
        "area": ("megapixels", "width * height", width_N * height_N, 1_000_000),
    }
    axes = [
        _axis(
            column.name,
            column.title,
            column.name if is_known(column) else ".".join(map(quoted, column.name.split("."))),
            run.numbers(column.name),
        )
        for column in declared
    ]
    axes += [_size_axis(name, *about) for name, about in sizes.items()]
    return [axis for axis in axes if (axis.codes_N != NO_VALUE).any()]


def make_labels(run: RunData) -> list[Labels]:
    """Make the labels of the rows: groups, formats, errors."""
    group = run.grouping
    found = [
        _labels("group", group.label, group.sql, group.values, empty=group.empty),
        _labels("format", "format", "image_ext", run.table["image_ext"]),
        _labels("error", "without a score", "error", run.table["error"]),
    ]
    return [labels for labels in found if labels.names]


def _axis(name: str, label: str, sql: str, values_N: NDArray[np.float64]) -> Axis:
    edges = _even_edges(values_N[np.isfinite(values_N)])
    codes_N = _cut(values_N.astype(np.float32), edges.astype(np.float32))
    shortest = [float(str(edge)) for edge in edges.astype(np.float32)]
    return Axis(name=name, label=label, sql=sql, edges=shortest, codes_N=codes_N)


def _size_axis(name: str, label: str, sql: str, values_N: NDArray[np.float64], unit: int) -> Axis:
    there = values_N[np.isfinite(values_N)]
    is_wide = bool(len(there)) and there.max() > _SPREAD_OUT * there.min()
    edges = np.unique((_ratio_edges(there, unit) if is_wide else _even_edges(there)).astype(int))
    codes_N = _cut(values_N, edges)
    return Axis(name=name, label=label, sql=sql, edges=edges.tolist(), unit=unit, codes_N=codes_N)


def _even_edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Choose round edges at equal distances, 25 to 60 of them, over nearly all values."""
    if not len(values):
        return np.empty(0)
    low, high = (float(v) for v in np.quantile(values, [0.001, 0.999]))
    if high <= low:
        low, high = low - 0.01 * max(abs(low), 1), high + 0.01 * max(abs(high), 1)
    raw = (high - low) / _MOST_BINS
    power = 10.0 ** np.floor(np.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10, 20) if m * power >= raw)
    places = np.arange(np.ceil(low / step), np.floor(high / step) + 1)
    return np.round(places * step, 12)


def _ratio_edges(values: NDArray[np.float64], unit: int) -> NDArray[np.float64]:
    """Choose edges at equal ratios: a tenth of a decade of megapixels, a quarter of an octave."""
    if unit > 1:
        first, last = np.floor(10 * np.log10(values.min())), np.ceil(10 * np.log10(values.max()))
        return np.array([_two_digits(10 ** (n / 10)) for n in np.arange(first, last + 1)])
    first, last = np.floor(4 * np.log2(values.min())), np.ceil(4 * np.log2(values.max()))
    return np.round(2 ** (np.arange(first, last + 1) / 4))


def _two_digits(value: float) -> float:
    return float(f"{value:.1e}")


def _cut(values_N: NDArray[Any], edges: NDArray[Any]) -> Codes:
    codes_N = np.searchsorted(edges, values_N, side="right").astype(np.uint8)
    codes_N[~np.isfinite(values_N)] = NO_VALUE
    return codes_N


def _labels(name: str, label: str, sql: str, values: Any, empty: str = "") -> Labels:
    """Code the labels, the most frequent ones if there are many; `empty` names null."""
    encoded = values.combine_chunks()
    if not pa.types.is_dictionary(encoded.type):
        encoded = encoded.dictionary_encode()
    known: Sequence[Any] = encoded.dictionary.to_pylist()
    place_N = encoded.indices.fill_null(len(known)).to_numpy()
    counts = np.bincount(place_N, minlength=len(known) + 1)
    if not empty:
        counts[-1] = 0  # null has no label
    (there,) = np.nonzero(counts)
    chosen = there[np.argsort(-counts[there], kind="stable")][:_MOST_LABELS]
    chosen = sorted(chosen, key=lambda place: (place == len(known), str(_at(known, place))))
    codes = np.full(len(known) + 1, NO_VALUE, np.uint8)
    codes[chosen] = np.arange(len(chosen))
    shown = [_at(known, place) for place in chosen]
    return Labels(
        name=name,
        label=label,
        sql=sql,
        names=[(empty or TOP) if value in (None, "") else str(value) for value in shown],
        literals=[_literal(value) for value in shown],
        codes_N=codes[place_N],
        rare=len(there) - len(chosen),
    )


def _at(values: Sequence[Any], place: int) -> Any:
    return values[place] if place < len(values) else None


def _literal(value: Any) -> str | None:
    """Spell a value in SQL, None for null."""
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return None if value is None else str(value)


def choose_evenly(places: Iterable[int], count: int) -> list[int]:
    """Choose `count` of some places at even distances: the middles of equal parts."""
    places = list(places)
    if len(places) <= count:
        return places
    middles = (np.arange(count) + 0.5) * len(places) / count
    return [places[int(middle)] for middle in middles]


Places = NDArray[np.intp]


def order_of(run: RunData) -> Places:
    """Return the places of rows in their order, the worst first."""
    return worst_first(run.table)


def pack(
    run: RunData, order: Places, axes: Sequence[Axis], labels: Sequence[Labels]
) -> dict[str, Any]:
    """Pack the rows into a string of base64, with a description of its layout.

    The bytes, deflated: the qualities of scored rows as float32, turned into integers of the same
    order, as differences between neighbours, with all first bytes, then all second bytes and so on;
    then the codes of each axis and of each label, a byte per row.
    """
    quality_N = run.numbers("quality").astype(np.float32)[order]
    scored = int(np.isfinite(quality_N).sum())
    bits = (quality_N[:scored] + np.float32(0)).view("<u4")  # turns -0.0 into 0.0
    ranks = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype("<u4")
    steps = np.diff(ranks, prepend=np.zeros(1, "<u4"))
    planes = [steps.view(np.uint8).reshape(-1, 4).T.ravel()]
    planes += [column.codes_N[order] for column in (*axes, *labels)]
    data = zlib.compress(np.concatenate(planes).tobytes(), 9)
    return {"rows": len(order), "scored": scored, "data": base64.b64encode(data).decode()}
