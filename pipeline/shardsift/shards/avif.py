"""The boxes of an AVIF, which is an ISO media file (ISO/IEC 14496-12, 23008-12)."""

from __future__ import annotations

import re

_EXIF_ITEM = re.compile(rb"(infe(?:\x02.{7}|\x03.{9}))Exif", re.DOTALL)
"""An EXIF block in the list of items: version, flags, item and protection, and then its kind."""

_MOST_BOXES = 1 << 16
"""A file of more is damaged, and to walk them would take seconds."""


def is_avif(data: bytes) -> bool:
    """Tell whether the brands of an ISO media file say that AV1 is in it."""
    brands = data[8 : min(64, int.from_bytes(data[:4], "big"))]
    return data[4:8] == b"ftyp" and (b"avif" in brands or b"avis" in brands)


def split(data: bytes) -> tuple[bytes, bytes]:
    """Hide the EXIF block, which decides nothing: a picture is turned by boxes of its own."""
    pixels = data.find(b"mdat")
    if pixels < 0:
        return data, b""
    return _EXIF_ITEM.sub(rb"\1free", data[:pixels]) + data[pixels:], b""


def ends_early(data: bytes) -> bool:
    """Walk the boxes, which begin with their size: 1: 64 bits, 0: to the end."""
    at = boxes = 0
    while at < len(data) and (boxes := boxes + 1) <= _MOST_BOXES:
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size == 0:
            return len(data) - at < 8
        if size < 8:
            return False
        at += size
    return at > len(data)
