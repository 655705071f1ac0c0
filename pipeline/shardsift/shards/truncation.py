"""Whether an image file lacks its end.

Pillow has one error for files that end early and for damaged ones, and if a JPEG was cut and
closed again with an end-of-image marker it has none: libjpeg paints grey what is missing, and only
warns. What of a container says how long the file should be is read here.
"""

from __future__ import annotations

import io
from typing import Any, Literal, cast

import numpy as np
from PIL import Image

_JPEG_END = b"\xff\xd9"
_JPEG_SCAN = 0xDA
_JPEG_WITHOUT_LENGTH = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})
_JPEG_FILLER = 128
"""Of all channels, in the colours of the file: what libjpeg makes of coefficients of zero."""

_NOISE = bytes(range(255))
_OTHER_PIXELS = _NOISE + b"".join(bytes([0xFF, 0xD0 + n]) + _NOISE for n in range(8))
"""Entropy-coded data that is never the rest of an image, for any restart marker awaited, too."""

_TIFF_STRIPS = ((273, 279), (324, 325))
"""Tags with the offsets and the sizes of strips, and of tiles."""


def ends_early(data: bytes) -> bool:
    """Tell whether a container that doesn't decode lacks the end that its format demands."""
    if data.startswith(b"\xff\xd8\xff"):
        return _JPEG_END not in data[-64:]
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-64:]
    if data.startswith(b"GIF8"):
        return not data.rstrip(b"\0").endswith(b";")
    if data.startswith(b"RIFF") and len(data) >= 8:
        return len(data) < int.from_bytes(data[4:8], "little") + 8
    if data.startswith(b"BM") and len(data) >= 6:
        return len(data) < int.from_bytes(data[2:6], "little")
    if data.startswith((b"II*\0", b"MM\0*")):
        return _tiff_ends_early(data)
    return is_avif(data) and _boxes_end_early(data)


def is_avif(data: bytes) -> bool:
    """Tell whether the brands of an ISO media file say that AV1 is in it."""
    brands = data[8 : min(64, int.from_bytes(data[:4], "big"))]
    return data[4:8] == b"ftyp" and (b"avif" in brands or b"avis" in brands)


def lacks_pixels(data: bytes, image: Image.Image) -> bool:
    """Tell whether a JPEG that decodes lacks its last pixels, which libjpeg then makes grey.

    `image` is loaded and has the colours of the file. A picture may end in that very grey by
    itself; it then looks the same whatever stands behind its data, and one that lacks data doesn't.
    """
    end = data.find(_JPEG_END, _find_scan(data))
    if end < 0:
        return True
    last_pixel = np.array(image.getpixel((image.width - 1, image.height - 1)), int)
    if np.abs(last_pixel - _JPEG_FILLER).max() > 1:
        return False
    with Image.open(io.BytesIO(data[:end] + _OTHER_PIXELS + data[end:])) as other:
        return not np.array_equal(np.asarray(other), np.asarray(image))


def _find_scan(data: bytes) -> int:
    """Find the beginning of a JPEG's pixels: behind the thumbnail, which has an end of its own."""
    at = 2
    while at + 4 <= len(data):
        marker = data[at + 1]
        if data[at] != 0xFF or marker == 0xFF:
            at += 1  # fill bytes, and what libjpeg skips as well
        elif marker == _JPEG_SCAN:
            return at
        elif marker in _JPEG_WITHOUT_LENGTH:
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return len(data)


def _tiff_ends_early(data: bytes) -> bool:
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    directory = int.from_bytes(data[4:8].ljust(4, b"\xff"), order)
    entries = int.from_bytes(data[directory : directory + 2].ljust(2, b"\xff"), order)
    if directory + 2 + 12 * entries > len(data):
        return True
    try:
        with Image.open(io.BytesIO(data), formats=("TIFF",)) as image:
            tags = cast(Any, image).tag_v2
            pieces = [
                (tags.get(offsets, ()), tags.get(sizes, ())) for offsets, sizes in _TIFF_STRIPS
            ]
    except Exception:  # noqa: BLE001  # Pillow raises nearly anything; then it isn't the end alone
        return False
    return any(at + size > len(data) for piece in pieces for at, size in zip(*piece, strict=False))


def _boxes_end_early(data: bytes) -> bool:
    """Walk an ISO media file's boxes, which begin with their size: 1: 64 bits, 0: to the end."""
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size == 0:
            return len(data) - at < 8
        if size < 8:
            return False
        at += size
    return at > len(data)
