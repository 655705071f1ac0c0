"""What the page's slider needs to tell exact shares without the rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardsift.annotations.parquet import count_values
from shardsift.report.gather import Floats, RunData
from shardsift.shards.plan import shard_prefixes

_STEPS = 400
"""Places of the slider."""

_SIDES = (0, 256, 384, 512, 768, 1024, 1536)
_MAX_PARTS = 15


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where the slider stands at first: a quality, or a share of the images to keep."""

    min_quality: float | None = None
    keep_top: float = 0.3


def live_data(run: RunData, start: Start) -> dict[str, Any]:
    """Count the images that are as good as each place of the slider, in all and by group."""
    quality_N = run.numbers("quality")
    scored_N = np.isfinite(quality_N)
    edges = _edges(quality_N[scored_N])
    kept = _at_least(quality_N[scored_N], edges)
    wanted = (
        np.searchsorted(edges, start.min_quality)
        if start.min_quality is not None
        else np.argmax(np.array(kept) <= start.keep_top * kept[0])
    )
    sides, side_names = _side_labels(run)
    shards = run.strings("shard")
    prefixes = shard_prefixes(set(shards.tolist()))
    parts = np.array([prefixes[shard] for shard in shards], object)
    formats = list(count_values(run.table["image_ext"]))[:_MAX_PARTS]
    groups = {
        "shorter side, px": _rows(sides, side_names, quality_N, edges),
        "format": _rows(run.strings("image_ext"), formats, quality_N, edges),
        "part": _rows(parts, _most_common(parts), quality_N, edges),
    }
    return {
        "url": run.url,
        "sampled": run.is_sampled,
        "edges": edges.tolist(),
        "atLeast": kept,
        "start": int(min(wanted, len(edges) - 1)),
        "groups": [{"name": name, "rows": rows} for name, rows in groups.items() if rows],
    }


def _edges(scored: Floats) -> Floats:
    """Choose thresholds of four decimals, as shown; the first keeps all, the last nothing."""
    if not len(scored):
        return np.zeros(1)
    low = np.floor(scored.min() * 1e4) / 1e4
    return np.unique(np.round(np.linspace(low, scored.max() + 1e-4, _STEPS + 1), 4))


def _at_least(scored: Floats, edges: Floats) -> list[int]:
    return (len(scored) - np.searchsorted(np.sort(scored), edges)).tolist()


def _rows(
    labels_N: NDArray[np.object_], names: Iterable[str], quality_N: Floats, edges: Floats
) -> list[dict[str, Any]]:
    """Make a row for each name that has scored images."""
    found: list[dict[str, Any]] = []
    for name in names:
        own = quality_N[(labels_N == name) & np.isfinite(quality_N)]
        if len(own):
            median = round(float(np.median(own)), 4)
            found.append({"name": name, "median": median, "atLeast": _at_least(own, edges)})
    return found


def _side_labels(run: RunData) -> tuple[NDArray[np.object_], list[str]]:
    """Return the class of each row's shorter side, and the classes in order."""
    names = [f"{low} to {high - 1}" for low, high in pairwise(_SIDES)]
    names.append(f"{_SIDES[-1]} and more")
    side_N = np.nan_to_num(np.minimum(run.numbers("width"), run.numbers("height")))
    place_N = np.searchsorted(_SIDES, side_N, side="right") - 1
    return np.array(names, object)[place_N], names


def _most_common(labels_N: NDArray[np.object_]) -> list[str]:
    names, counts = np.unique(labels_N.astype(str), return_counts=True)
    largest = np.argsort(-counts, kind="stable")[:_MAX_PARTS]
    return sorted(names[largest].tolist())
