"""The pictures of a page: fetched from the tars by byte range, small, and a part at full size."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from shardsift.errors import ImageError
from shardsift.records import RgbImage
from shardsift.report.lookup import read_image
from shardsift.threads import Track, map_ordered, no_track

PREVIEW_SIDE = 320
"""Pixels of a preview's longer side."""

CUT_SIDE = 224
"""Pixels of the side of what is shown at full size, as large as a crop."""

_FORMAT = "AVIF" if features.check("avif") else "WEBP"
_QUALITIES = (60, 50, 40, 30, 20, 10)
_FEWEST_BYTES, _MOST_BYTES = 6_000, 24_000
_PREVIEW_PART = 0.6
_THREADS = 8
_AT_A_TIME = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Patches:
    """Quality over an image: `quality` by row and column of patches, at `tops` and `lefts`, px."""

    tops: Sequence[int]
    lefts: Sequence[int]
    quality: NDArray[np.float32]

    def worst(self) -> tuple[int, int]:
        """Return left and top of the patch with the lowest quality."""
        row, column = divmod(int(self.quality.argmin()), len(self.lefts))
        return self.lefts[column], self.tops[row]


LaysOut = Callable[[Sequence[RgbImage], Sequence[dict[str, Any]]], Sequence[Patches | None]]
"""Finds the patches of images, given their rows of annotations; None for one that has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A row that is shown.

    Attributes:
        row: its columns.
        preview: all of it, small; cut: a part of it at full size. Both are data URIs, None if the
            image can't be read.
        cut_at: left and top of that part. patches: None if they were not scored, or if there are
            none.
    """

    row: dict[str, Any]
    preview: str | None = None
    cut: str | None = None
    cut_at: tuple[int, int] = (0, 0)
    patches: Patches | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetching:
    """How pictures are fetched: where their tars lie, and how large they may be.

    `root` is None if nobody knows; `bytes_each` are those of preview and cut; `lay_out` is None if
    patches are not to be scored.
    """

    root: str | None
    bytes_each: int
    lay_out: LaysOut | None = None


def bytes_each(budget: int, pictures: int) -> int:
    """Divide a number of characters among pictures, which are written in base64."""
    each = budget * 3 // 4 // max(pictures, 1)
    return min(max(each, _FEWEST_BYTES), _MOST_BYTES)


def fetch(
    rows: Sequence[dict[str, Any]], how: Fetching, track: Track = no_track
) -> tuple[list[Picture], str | None]:
    """Fetch the pictures of some rows of annotations; also tell why some are missing."""
    problems: list[str] = []

    def read(row: dict[str, Any]) -> RgbImage | None:
        try:
            return None if how.root is None else read_image(how.root, row)
        except (OSError, ImageError, ValueError) as error:
            problems.append(f"{row['shard']}: {error}")
            return None

    images = zip(rows, map_ordered(read, rows, _THREADS), strict=True)
    shown = list(track(_encode_all(images, how), "fetching pictures", len(rows)))
    if how.root is None:
        problems.append("no _run.json says where the shards lie; name their folder with --shards")
    missing = sum(picture.preview is None for picture in shown)
    if not problems or not missing:
        return shown, None
    return shown, f"{missing} of {len(shown)} pictures are missing: {problems[0]}"


_Read = tuple[dict[str, Any], RgbImage | None]


def _encode_all(images: Iterator[_Read], how: Fetching) -> Iterator[Picture]:
    """Encode images, some at a time, so that a model gets whole batches of crops."""

    def encode(one: tuple[_Read, Patches | None]) -> Picture:
        (row, image), patches = one
        return Picture(row=row) if image is None else _encode(row, image, patches, how.bytes_each)

    while some := list(islice(images, _AT_A_TIME)):
        patches = iter(_lay_out(some, how.lay_out))
        laid = [(one, None if one[1] is None else next(patches)) for one in some]
        yield from map_ordered(encode, laid, _THREADS)


def _lay_out(some: Sequence[_Read], lay_out: LaysOut | None) -> Sequence[Patches | None]:
    there = [(row, image) for row, image in some if image is not None]
    if lay_out is None:
        return [None] * len(there)
    return lay_out([image for _, image in there], [row for row, _ in there])


def _encode(row: dict[str, Any], image: RgbImage, patches: Patches | None, most: int) -> Picture:
    left, top = patches.worst() if patches else _middle(image)
    small = Image.fromarray(image)
    small.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    preview = _within(small, int(most * _PREVIEW_PART))
    part = np.ascontiguousarray(image[top : top + CUT_SIDE, left : left + CUT_SIDE])
    return Picture(
        row=row,
        preview=preview,
        cut=_within(Image.fromarray(part), int(most * (1 - _PREVIEW_PART))),
        cut_at=(left, top),
        patches=patches,
    )


def _middle(image: RgbImage) -> tuple[int, int]:
    height, width = image.shape[:2]
    return max(width - CUT_SIDE, 0) // 2, max(height - CUT_SIDE, 0) // 2


def _within(image: Image.Image, most: int) -> str:
    """Encode an image as a data URI, as well as so many bytes allow; the worst if none do."""
    tries = (_encoded(image, quality) for quality in _QUALITIES)
    data = b""
    for data in tries:
        if len(data) <= most:
            break
    return f"data:image/{_FORMAT.lower()};base64," + base64.b64encode(data).decode()


def _encoded(image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    options = {"speed": 10} if _FORMAT == "AVIF" else {}
    image.save(file, _FORMAT, quality=quality, **options)
    return file.getvalue()
