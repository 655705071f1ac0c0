"""Image formats: first bytes, end, EXIF block, and layouts that Pillow would misread.

The colour profile, text, resolution and EXIF block of a JPEG or PNG don't change its pixels. They
may be broken or huge, so they are removed before Pillow reads the file. Other formats go to Pillow
unchanged.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from PIL import TiffImagePlugin

from shardsift.errors import ErrorCode, ImageError
from shardsift.images import jpeg, png

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_GIF = (b"GIF87a", b"GIF89a")
_ORIENTATION = 274
_UNSIGNED = {1: 1, 3: 2, 4: 4}
"""Kinds of whole numbers, and their bytes."""

WHITE_IS_ZERO = 0
PHOTOMETRIC = 262


def orientation(block: bytes) -> int:
    """Read the orientation in an EXIF block or a TIFF, 1 to 8, whatever else is in it.

    1, which is upright, if it says nothing that makes sense.
    """
    block = block.removeprefix(b"Exif\0\0")
    if not block.startswith(_TIFF):
        return 1
    order: Literal["little", "big"] = "little" if block[:2] == b"II" else "big"
    is_big = 43 in block[2:4]
    pointer, counter, size = (slice(8, 16), 8, 20) if is_big else (slice(4, 8), 2, 12)
    begin = int.from_bytes(block[pointer], order) + counter
    count = int.from_bytes(block[begin - counter : begin], order)
    for at in range(begin, min(begin + count * size, len(block)), size):
        if int.from_bytes(block[at : at + 2], order) == _ORIENTATION:
            width = _UNSIGNED.get(int.from_bytes(block[at + 2 : at + 4], order), 0)
            value = at + size // 2 + 2  # the value follows tag, type and count
            found = int.from_bytes(block[value : value + width], order)
            return found if 1 <= found <= 8 else 1
    return 1


def split(data: bytes) -> tuple[bytes, bytes]:
    """Split a file into what decides about the pixels of its first picture, and its EXIF block.

    The first is a file of the same format. The second is empty if there is none, or if Pillow
    reads it.
    """
    return _format_of(data).split(data)


def is_known(data: bytes) -> bool:
    """Return whether the first bytes are those of a format that we know."""
    return _format_of(data) is not _UNKNOWN


def ends_early(data: bytes) -> bool:
    """Return whether a file that doesn't decode lacks the end that its format demands."""
    return _format_of(data).ends_early(data)


def check(data: bytes) -> None:
    """Refuse what Pillow would read wrongly, before it reads it.

    Raises:
        ImageError: `unsupported_format` for such a layout, `truncated` for a TIFF whose directory
            goes beyond its end.
    """
    if data.startswith(png.SIGNATURE) and (problem := png.problem_of(data)):
        raise ImageError(ErrorCode.UNSUPPORTED_FORMAT, f"a PNG {problem}")
    if data.startswith(_TIFF):
        tags = _tiff_tags(data)
        if tags is None:
            raise ImageError(ErrorCode.TRUNCATED, "its directory goes beyond its end")
        if problem := _tiff_problem(tags):
            raise ImageError(ErrorCode.UNSUPPORTED_FORMAT, f"a TIFF {problem}")


def is_avif(data: bytes) -> bool:
    """Return whether the brands of an ISO media file say that AV1 is in it."""
    brands = data[8 : min(64, int.from_bytes(data[:4], "big"))]
    return data[4:8] == b"ftyp" and (b"avif" in brands or b"avis" in brands)


# --- TIFF: tag numbers are those of TIFF 6.0 (Adobe, 1992) ----------------------------------------

_Tags = Mapping[int, Any]

_PLAIN_PLANES = (1, 2, 3, 5)
"""Photometric interpretations whose raw planes Pillow reads right: grey, RGB, palette, CMYK."""

_MOST_PIECES = 1 << 20


def _tiff_tags(data: bytes) -> _Tags | None:
    """Read the first directory; None if it, or data that it refers to, is incomplete."""
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    is_big = 43 in data[2:4]
    at = int.from_bytes(data[8:16] if is_big else data[4:8], order)
    begin = at + (8 if is_big else 2)
    count = int.from_bytes(data[at:begin], order)
    if not 0 < at < begin + count * (20 if is_big else 12) <= len(data):
        return None
    tags = TiffImagePlugin.ImageFileDirectory_v2(data[: 16 if is_big else 8])
    file = io.BytesIO(data)
    file.seek(at)
    tags.load(file)  # stops at a value that lies beyond the end
    return tags if len(tags) >= count else None


def _tiff_problem(tags: _Tags) -> str | None:
    """Name why a TIFF's pixels would be read wrongly; None if they wouldn't."""
    bits, photometric = _first(tags, 258, 1), _first(tags, PHOTOMETRIC, -1)
    compression, extra = _first(tags, 259, 1), _all(tags, 338)
    is_plain = bits == 8 and extra in ([], [2]) and _first(tags, 266, 1) == 1
    is_split = _first(tags, 284, 1) == 2 and not (is_plain and photometric in _PLAIN_PLANES)
    pieces = max(len(_all(tags, 273)), len(_all(tags, 324)))
    problems = {
        f"of {pieces:,} strips or tiles": pieces > _MOST_PIECES,
        "without a photometric interpretation": photometric < 0,
        "with numbers that aren't unsigned integers": _first(tags, 339, 1) != 1,
        f"of {bits} bits a channel": bits not in (1, 2, 4, 8, 16),
        "compressed as WebP": compression == 50001,
        "with raw planes that aren't plain RGB": compression == 1 and is_split,
        "with other inks than CMYK": photometric == 5 and _first(tags, 332, 1) != 1,
        "with a palette of 8 bits": photometric == 3 and max(_all(tags, 320), default=0) < 256,
        "with raw, subsampled YCbCr": (photometric, compression) == (6, 1)
        and _all(tags, 530) != [1, 1],
    }
    return next((problem for problem, is_so in problems.items() if is_so), None)


def _all(tags: _Tags, tag: int) -> list[int]:
    """Return the whole numbers of a tag; none if it has no such."""
    try:
        found = tags.get(tag, ())
    except Exception:  # noqa: BLE001  # Pillow decodes a value when it is asked for, and may fail
        return []
    values = list(found) if isinstance(found, tuple | list) else [found]
    return values if all(isinstance(value, int) for value in values) else []


def _first(tags: _Tags, tag: int, default: int) -> int:
    return next(iter(_all(tags, tag)), default)


def _tiff_ends_early(data: bytes) -> bool:
    """Return whether the directory, a strip or a tile of a TIFF lies beyond its end."""
    tags = _tiff_tags(data)
    return tags is None or any(
        at + size > len(data)
        for offsets, sizes in ((273, 279), (324, 325))
        for at, size in zip(_all(tags, offsets), _all(tags, sizes), strict=False)
    )


# --- all formats ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Format:
    matches: Callable[[bytes], bool]
    ends_early: Callable[[bytes], bool]
    split: Callable[[bytes], tuple[bytes, bytes]] = lambda data: (data, b"")


def _begins(*signatures: bytes) -> Callable[[bytes], bool]:
    return lambda data: data.startswith(signatures)


def _avif_ends_early(data: bytes) -> bool:
    """Walk the boxes, which begin with their size: 1: 64 bits, 0: to the end."""
    at = boxes = 0
    while at < len(data) and (boxes := boxes + 1) <= 1 << 16:
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size < 8:
            return size == 0 and len(data) - at < 8
        at += size
    return at > len(data)


_FORMATS = (
    _Format(_begins(jpeg.SIGNATURE), jpeg.ends_early, jpeg.split),
    _Format(_begins(png.SIGNATURE), png.ends_early, png.split),
    _Format(
        lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP",
        lambda data: len(data) < int.from_bytes(data[4:8], "little") + 8,
    ),
    _Format(_begins(*_GIF), lambda data: not data.rstrip(b"\0").endswith(b";")),
    _Format(
        _begins(b"BM"),
        lambda data: 6 <= len(data) < int.from_bytes(data[2:6], "little"),
    ),
    _Format(_begins(*_TIFF), _tiff_ends_early),
    _Format(is_avif, _avif_ends_early),
)
_UNKNOWN = _Format(lambda data: False, lambda data: False)


def _format_of(data: bytes) -> _Format:
    return next((each for each in _FORMATS if each.matches(data)), _UNKNOWN)
