"""What the page's slider needs to tell exact shares without the rows."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardsift.annotations.parquet import count_values
from shardsift.commands import beside, command
from shardsift.report.gather import Floats, RunData
from shardsift.shards.plan import shard_prefixes
from shardsift.storage.files import absolute

_STEPS = 400
"""Places of the slider, besides those of shares that can be asked for."""

PRESETS = (0.1, 0.3, 0.5, 0.7)
"""Shares that the page has buttons for."""

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
    presets = _presets(quality_N[scored_N], {*PRESETS, start.keep_top})
    edges = _edges(quality_N[scored_N], [preset.min_quality for preset in presets])
    kept = _at_least(quality_N[scored_N], edges)
    places = {preset.share: int(np.searchsorted(edges, preset.min_quality)) for preset in presets}
    wanted = places.get(start.keep_top, len(edges) - 1)
    if start.min_quality is not None:
        wanted = int(np.searchsorted(edges, start.min_quality))
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
        "filter": command("filter", absolute(run.url)),
        "into": shlex.join(["--output", beside(absolute(run.url), "kept")]),
        "sampled": run.is_sampled,
        "edges": edges.tolist(),
        "atLeast": kept,
        "start": min(wanted, len(edges) - 1),
        "startShare": start.keep_top if start.min_quality is None else None,
        "presets": [
            {"share": preset.share, "place": places[preset.share], "kept": preset.kept}
            for preset in presets
        ],
        "groups": [{"name": name, "rows": rows} for name, rows in groups.items() if rows],
    }


@dataclass(frozen=True, kw_only=True)
class _Preset:
    """A share, how many images `filter` keeps for it, and the quality of the last of them."""

    share: float
    kept: int
    min_quality: float


def _presets(scored: Floats, shares: Iterable[float]) -> list[_Preset]:
    ordered = np.sort(scored)[::-1]
    wanted = ((share, round(share * len(ordered))) for share in sorted(shares))
    return [
        _Preset(share=share, kept=kept, min_quality=float(ordered[kept - 1]))
        for share, kept in wanted
        if kept
    ]


def _edges(scored: Floats, exact: Iterable[float]) -> Floats:
    """Choose thresholds of four decimals, as shown, and exact ones besides.

    The first keeps all, the last nothing.
    """
    if not len(scored):
        return np.zeros(1)
    low = np.floor(scored.min() * 1e4) / 1e4
    even = np.round(np.linspace(low, scored.max() + 1e-4, _STEPS + 1), 4)
    return np.unique([*even, *exact])


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
