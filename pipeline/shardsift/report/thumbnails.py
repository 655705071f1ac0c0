"""Small pictures of some samples, fetched from the tars by byte range."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from shardsift.config import PILLOW_BOMB_ERROR_PIXELS
from shardsift.errors import ImageError
from shardsift.report.gather import Floats, RunData
from shardsift.shards.images import decode_rgb
from shardsift.storage.files import join, read_range
from shardsift.threads import Track, no_track

SIDE = 176
"""Pixels of a thumbnail's longer side."""

_QUALITY = 70
_THREADS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Thumbnail:
    """A sample that is shown: `picture` is a data URI, None if the tar can't be read."""

    key: str
    shard: str
    quality: float
    q_sim: float
    q_mag: float
    width: int
    height: int
    picture: str | None


def spread_over_quality(quality_N: Floats, usable_N: NDArray[np.bool_], count: int) -> list[int]:
    """Choose `count` usable rows at even ranks of quality, from the lowest to the highest."""
    places = np.flatnonzero(usable_N & np.isfinite(quality_N))
    places = places[np.argsort(quality_N[places], kind="stable")]
    if len(places) > count:
        # the middles of equal parts, so that no part goes unseen
        places = places[((np.arange(count) + 0.5) * len(places) / count).astype(int)]
    return [int(place) for place in places]


def choose(run: RunData, count: int) -> list[int]:
    """Choose rows that can be shown, over the whole range of quality."""
    offset_N, size_N = run.numbers("tar_offset"), run.numbers("tar_size")
    usable_N = np.isfinite(offset_N) & np.isfinite(size_N)
    return spread_over_quality(run.numbers("quality"), usable_N, count)


def fetch_thumbnails(
    run: RunData, root: str | None, places: Sequence[int], track: Track = no_track
) -> tuple[list[Thumbnail], str | None]:
    """Fetch thumbnails of some rows; also tell why some are missing."""
    rows: Sequence[dict[str, object]] = run.table.take(pa.array(places, pa.int64())).to_pylist()
    problems: list[str] = []

    def fetch(row: dict[str, object]) -> Thumbnail:
        picture = None
        if root is not None:
            try:
                picture = _picture(join(root, str(row["shard"])), row)
            except (OSError, ImageError, ValueError) as error:
                problems.append(f"{row['shard']}: {error}")
        return _thumbnail(row, picture)

    with ThreadPoolExecutor(_THREADS, "thumbnails") as pool:
        thumbnails = list(track(pool.map(fetch, rows), "fetching pictures", len(rows)))
    if root is None:
        problems.append("no _run.json says where the shards lie; name their folder with --shards")
    if not problems:
        return thumbnails, None
    missing = sum(thumbnail.picture is None for thumbnail in thumbnails)
    return thumbnails, f"{missing} of {len(thumbnails)} pictures are missing: {problems[0]}"


def _picture(url: str, row: dict[str, object]) -> str:
    offset, size = row["tar_offset"], row["tar_size"]
    if not (isinstance(offset, int) and isinstance(size, int)):
        raise ValueError(f"{row['key']} does not lie in one piece in its tar")
    return encode(decode_rgb(read_range(url, offset, size), PILLOW_BOMB_ERROR_PIXELS))


def encode(image: NDArray[np.uint8]) -> str:
    """Encode an RGB image as a data URI, made small."""
    small = Image.fromarray(image)
    small.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _thumbnail(row: dict[str, object], picture: str | None) -> Thumbnail:
    def number(name: str) -> float:
        value = row[name]
        return float(value) if isinstance(value, int | float) else float("nan")

    return Thumbnail(
        key=str(row["key"]),
        shard=str(row["shard"]),
        quality=number("quality"),
        q_sim=number("q_sim"),
        q_mag=number("q_mag"),
        width=int(number("width")),
        height=int(number("height")),
        picture=picture,
    )
