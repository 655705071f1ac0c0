"""What a page says of a picture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from shardsift.columns import COLUMNS
from shardsift.config import ATTRIBUTE_PREFIX
from shardsift.report.pictures import CUT_SIDE, Patches, Picture
from shardsift.storage.files import absolute
from shardsift.text import beside, byte_size, command

_EVERY = frozenset(column.name for column in COLUMNS)


def show(
    url: str, picture: Picture, *, at: int, extra: bool = False, equal: int = 0
) -> dict[str, Any]:
    """Return a picture of a run as a page's script reads it: `at` is its place among all rows.

    An `extra` one is shown among its copies alone; of `equal` ones there are so many.
    """
    row = picture.row
    facts = list(describe(row, picture.patches))
    if equal > 1:
        facts.append(("equal pictures", f"{equal:,}, itself among them"))
    return {
        "at": at,
        "extra": extra,
        "key": row["key"],
        "shard": row["shard"],
        "index": row["index"],
        "width": row["width"],
        "height": row["height"],
        "quality": row["quality"],
        "sim": row["q_sim"],
        "mag": row["q_mag"],
        "lowest": row["quality_min"],
        "spread": row["quality_std"] or 0,
        "preview": picture.preview,
        "cut": picture.cut,
        "cutAt": picture.cut_at,
        "heat": _heat(picture.patches),
        "facts": facts,
        "explain": _explain(url, row),
    }


def _heat(patches: Patches | None) -> dict[str, Any] | None:
    """Return patches as few numbers: their quality in thousandths."""
    if patches is None:
        return None
    return {
        "tops": patches.tops,
        "lefts": patches.lefts,
        "quality": np.round(1000 * patches.quality).astype(int).ravel().tolist(),
        "side": CUT_SIDE,
    }


def describe(row: dict[str, Any], patches: Patches | None) -> Iterator[tuple[str, str]]:
    """Yield all that is known of a picture, for people."""
    further = {
        name.removeprefix(ATTRIBUTE_PREFIX): value
        for name, value in row.items()
        if name not in _EVERY and isinstance(value, (int, float))
    }
    numbers = {
        "quality": row["quality"],
        "q_sim": row["q_sim"],
        "q_mag": row["q_mag"],
        "weight of q_sim": row["w_sim"],
        "lowest crop": row["quality_min"],
        "best patch": None if patches is None else patches.quality.max(),
        "spread over crops": row["quality_std"],
    } | further
    for name, value in numbers.items():
        if value is not None:
            yield name, f"{value:.4f}"
    yield "crops", str(row["crops"])
    yield "size", f"{row['width']} x {row['height']} px"
    if row["tar_size"] is not None:
        yield "format", f"{row['image_ext']}, {byte_size(row['tar_size'])}"
    yield "key", row["key"]
    yield "shard", row["shard"]
    yield "index", str(row["index"])
    if row["uid"]:
        yield "uid", row["uid"]


def _explain(url: str, row: dict[str, Any]) -> str:
    url = absolute(url)
    which = ("--key", row["key"], "--shard", row["shard"], "--output", beside(url, "explained"))
    return command("explain", "--annotations", url, *which)
