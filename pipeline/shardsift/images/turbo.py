"""Plain JPEGs to RGB without Pillow: the same library, the same pixels, in less time.

Pillow decides about all others: what isn't plain, what libjpeg-turbo warns of, what may lack its
last pixels.
"""

from __future__ import annotations

import simplejpeg
from PIL import features

from shardsift.images.jpeg import (
    COLOURS,
    END,
    FILLER,
    SCAN,
    SIGNATURE,
    has_too_many_scans,
    segments,
)
from shardsift.records import RgbImage

_HAS_SAME_LIBRARY = bool(features.check("libjpeg_turbo"))
"""Pillow's wheels have it; a Pillow that is built with another libjpeg makes other pixels."""

_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
"""Baseline, extended and progressive, in Huffman codes."""

_TABLES = frozenset({0xC4, 0xDB, 0xDD})
_FRAME_BYTES = 17
"""Of a frame of three channels, without its marker."""

_OF_8_BITS = bytes([0, _FRAME_BYTES, 8])


def decode(data: bytes, max_pixels: int) -> RgbImage | None:
    """Decode a plain JPEG to uint8 RGB, shape (height, width, 3).

    `data` is what `jpeg.split` leaves of a file. None if Pillow has to decide about it.
    """
    pixels = _plain_pixels(data)
    if not 0 < pixels <= max_pixels or has_too_many_scans(data, pixels):
        return None
    try:
        pixels_HW3: RgbImage = simplejpeg.decode_jpeg(data)
    except ValueError:  # also of what is only a warning
        return None
    last_pixel = pixels_HW3[-1, -1].tolist()
    is_filler = all(abs(value - FILLER) <= 1 for value in last_pixel)
    return None if is_filler else pixels_HW3


def _plain_pixels(data: bytes) -> int:
    """Count the pixels of a JPEG of three channels whose header holds nothing odd; 0 of others."""
    is_whole = data.startswith(SIGNATURE) and data.endswith(END)
    if not is_whole or not _HAS_SAME_LIBRARY:
        return 0
    pixels = 0
    last_end = 2
    for marker, begin, end in segments(data):
        if begin != last_end:  # bytes between segments, which libraries pass over in their own ways
            return 0
        last_end = end
        if marker in _FRAMES:
            frame = data[begin + 2 : end]
            if pixels or len(frame) != _FRAME_BYTES or not frame.startswith(_OF_8_BITS):
                return 0
            pixels = (frame[3] << 8 | frame[4]) * (frame[5] << 8 | frame[6])
        elif marker == SCAN:
            return pixels
        elif marker not in _TABLES and marker not in COLOURS:
            return 0
    return 0


def encode(image: RgbImage) -> bytes:
    """Encode an image as a plain JPEG."""
    return simplejpeg.encode_jpeg(image, quality=90)
