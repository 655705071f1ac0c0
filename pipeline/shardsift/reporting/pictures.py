"""The pictures of a page: which are chosen and equal, fetched by byte range, and described."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray
from PIL import Image, features
from scipy.stats import rankdata

from shardsift.columns import COLUMNS
from shardsift.config import ATTRIBUTE_PREFIX, PILLOW_BOMB_ERROR_PIXELS
from shardsift.errors import ImageError, InputError
from shardsift.images.decode import decode_rgb
from shardsift.outputs.output_folder import OutputFolder
from shardsift.reading import TARS, Reading
from shardsift.records import RgbImage
from shardsift.reporting.axes import Axis, Labels, Places, choose_evenly
from shardsift.reporting.gather import RunData
from shardsift.shards.names import annotation_name
from shardsift.shards.readers import read_file
from shardsift.storage.files import absolute
from shardsift.text import beside, byte_size, command
from shardsift.threads import Track, map_ordered, no_track

PREVIEW_SIDE = 320
"""Pixels of a preview's longer side."""

CUT_SIDE = 224
"""Side of the detail at full size in pixels, as large as a crop."""

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
"""Finds the patches of images by their annotation rows; None for an image without patches."""


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
    """Settings for fetching pictures: the folder of their tars, and their size.

    `root` is None if unknown; `bytes_each` are those of preview and cut; `lay_out` is None if
    patches are not to be scored.
    """

    root: str | None
    bytes_each: int
    reading: Reading = TARS
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
            return None if how.root is None else read_image(how.root, row, how.reading)
        except (OSError, ImageError, ValueError) as error:
            problems.append(f"{row['shard']}: {error}")
            return None

    images = zip(rows, map_ordered(read, rows, _THREADS), strict=True)
    shown = list(track(_encode_all(images, how), "fetching pictures", len(rows)))
    if how.root is None:
        problems.append("no _run.json with the folder of the shards; pass it to --shards")
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
    """Encode an image as a data URI, in the best quality that fits the bytes, or the worst."""
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


_EVERY = frozenset(column.name for column in COLUMNS)


def show(
    url: str, picture: Picture, *, at: int, extra: bool = False, equal: int = 0
) -> dict[str, Any]:
    """Return a picture for the page's script; `at` is its position among all rows.

    An `extra` picture is only shown among its copies; `equal` is their number.
    """
    row = picture.row
    facts = list(describe(row, picture.patches))
    if equal > 1:
        facts.append(("equal pictures", f"{equal:,}, itself among them"))
    url = absolute(url)
    which = ("--key", row["key"], "--shard", row["shard"], "--output", beside(url, "explained"))
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
        "explain": command("explain", "--annotations", url, *which),
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


_OF_LABEL = 6
"""Pictures of each group and format, over their qualities."""


def choose(
    run: RunData, order: Places, axes: Sequence[Axis], labels: Sequence[Labels], count: int
) -> list[int]:
    """Choose rows that can be shown, half of them at even ranks of quality.

    The others are those whose cues disagree most, and some over the range of each axis and of each
    label, in turn.
    """
    has_place_N = np.isfinite(run.numbers("tar_offset")) | (run.reading.kind != "tar")
    can_be_shown = (
        has_place_N & np.isfinite(run.numbers("tar_size")) & np.isfinite(run.numbers("quality"))
    )
    usable = order[can_be_shown[order]]
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
    """Return the first `count` different ones."""
    found: dict[int, None] = {}
    for place in places:
        if len(found) == count:
            break
        found[int(place)] = None
    return list(found)


_GROUPS = 8
_MEMBERS = 6
_COLUMNS = ("phash", "sha256")


@dataclass(frozen=True, kw_only=True, slots=True)
class EqualPictures:
    """Sets of equal pictures among the rows that were read.

    Attributes:
        column: name of the compared column.
        copies: number of rows that are not the best of their set.
        groups: positions of the rows of some sets, the best first.
        size_N: size of each row's set; 0 without a hash or a score.
    """

    column: str
    copies: int
    groups: Sequence[Sequence[int]]
    size_N: NDArray[np.int64]


def find_equal_pictures(run: RunData, order: Places) -> EqualPictures | None:
    """Find them, the largest groups first; None if no hashes were asked for."""
    is_scored_N = np.isfinite(run.numbers("quality"))
    for column in _COLUMNS:
        hashes = run.table[column].combine_chunks()
        counts_N = is_scored_N & hashes.is_valid().to_numpy(zero_copy_only=False)
        if counts_N.any():
            break
    else:
        return None
    best_first = order[::-1][counts_N[order[::-1]]]
    values_N = hashes.dictionary_encode().indices.fill_null(0).to_numpy()
    by_value = best_first[np.argsort(values_N[best_first], kind="stable")]
    groups = np.split(by_value, np.flatnonzero(np.diff(values_N[by_value])) + 1)
    several = sorted((group for group in groups if len(group) > 1), key=len, reverse=True)
    sizes = np.bincount(values_N[best_first], minlength=int(values_N.max()) + 1)
    return EqualPictures(
        column=column,
        copies=len(best_first) - len(groups),
        groups=[group[:_MEMBERS].tolist() for group in several[:_GROUPS]],
        size_N=np.where(counts_N, sizes[values_N], 0),
    )


# --- samples by their keys -----------------------------------------------------------------------

pc: Any = pyarrow.compute  # its functions are made at import, unseen by type checkers

_LOOKUP_THREADS = 16
_LOOKUP_COLUMNS = ("key", "shard", "index", "tar_offset", "tar_size", "quality", "error")


def find_samples(
    folder: OutputFolder, keys: Sequence[str], shard: str | None, track: Track = no_track
) -> list[dict[str, Any]]:
    """Look up the rows of samples by key, in one shard or in all, in the order of the keys.

    Raises:
        InputError: if a key is missing or in several shards, or its sample has no score.
        AnnotationError: if a file isn't one of ours.
    """
    names = sorted(folder.committed)
    if shard is not None:
        names = [annotation_name(shard)]
        if names[0] not in folder.committed:
            raise InputError(f"{folder.url}: has no annotation of shard {shard}")
    wanted = pa.array(keys, pa.string())

    def look(name: str) -> list[dict[str, Any]]:
        table = folder.annotations.read(name, list(_LOOKUP_COLUMNS))
        return table.filter(pc.is_in(table["key"], wanted)).to_pylist()

    found = track(map_ordered(look, names, _LOOKUP_THREADS), "looking for keys", len(names))
    rows = [row for rows in found for row in rows]
    return [row for key in keys for row in _of_key(key, rows)]


def _of_key(key: str, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of a key: several if a shard repeats it. Raises InputError."""
    own = [row for row in rows if row["key"] == key]
    shards = sorted({row["shard"] for row in own})
    if not own:
        raise InputError(f"--key {key}: no sample has it")
    if len(shards) > 1:
        raise InputError(
            f"--key {key}: is in {len(shards)} shards, such as {shards[0]} and {shards[1]}; name "
            "one with --shard"
        )
    for row in own:
        if row["error"] is not None:
            raise InputError(f"--key {key} in {row['shard']}: has no score ({row['error']})")
    return own


def read_image(root: str, row: dict[str, Any], reading: Reading) -> RgbImage:
    """Read the image of an annotation's row from its shard, below the folder of shards.

    Raises:
        OSError: if the shard can't be read.
        ImageError: if it isn't the shard that was scored.
        ValueError: if the image isn't stored in one piece.
    """
    return decode_rgb(read_file(root, row, reading), PILLOW_BOMB_ERROR_PIXELS)
