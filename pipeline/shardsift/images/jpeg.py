"""The segments of a JPEG: those that decide about its pixels, its EXIF block, and its end.

Pillow has one error for files that end early and for damaged ones, and if a JPEG was cut and
closed again with an end-of-image marker it has none: libjpeg fills missing pixels with grey, and
only warns.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import simplejpeg
from PIL import Image, features

from shardsift.errors import ErrorCode, ImageError
from shardsift.records import RgbImage

SIGNATURE = b"\xff\xd8\xff"

END = b"\xff\xd9"
SCAN = 0xDA
_SCAN_MARKER = bytes([0xFF, SCAN])
_MARKER = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")
"""Markers of segments with a length, and the end; in a picture's data, zero follows 0xFF."""
_COMMENT = 0xFE
_APPLICATION = range(0xE0, 0xF0)
_WITHOUT_LENGTH = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})
COLOURS = {0xE0: b"JFIF\0", 0xEE: b"Adobe"}
"""Application segments that name the colours of the channels, by their first bytes."""

_COLOURS_BYTES = 16
"""Such a segment has that many at least, its marker and length among them."""

_STRIP_ROWS = 256

_MOST_SEGMENTS = 1 << 16
"""Before the pixels; more would take seconds, and a gigabyte to sort out."""

_MOST_SCANNED_PIXELS = 2_500_000_000
"""Pixels times scans. libjpeg processes the whole picture for each scan, in about 7 ns per pixel.
So the limit is 17 s, or 28 scans of the largest allowed picture; programs write up to 12 scans."""

_LEAST_SCAN_BYTES = 10
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})

_EXIF, _EXIF_HEAD = 0xE1, b"Exif\0\0"

FILLER = 128
"""Value of all channels, in the file's colours, that libjpeg gives for coefficients of zero."""

_NOISE = bytes(range(255))
_OTHER_PIXELS = _NOISE + b"".join(bytes([0xFF, 0xD0 + n]) + _NOISE for n in range(8))
"""Entropy-coded data that is never the rest of an image, for any restart marker awaited, too."""


def split(data: bytes) -> tuple[bytes, bytes]:
    """Split a JPEG into what decides about its pixels, as a file, and its EXIF block, if any."""
    view = memoryview(data)
    kept: list[memoryview] = []
    exif = b""
    at = 0
    for marker, begin, end in segments(data):
        if marker != _COMMENT and marker not in _APPLICATION:
            continue
        head, colours = data[begin + 4 : begin + 10], COLOURS.get(marker)
        if colours and head.startswith(colours) and end - begin >= _COLOURS_BYTES:
            continue
        kept.append(view[at:begin])
        at = end
        if marker == _EXIF and head == _EXIF_HEAD:
            exif = exif or data[begin + 4 : end]
    return (b"".join([*kept, view[at:]]) if at else data), exif


def has_too_many_scans(data: bytes, pixels: int) -> bool:
    """Return whether decoding a JPEG with this number of pixels would take minutes."""
    most = _MOST_SCANNED_PIXELS // max(1, pixels)
    if len(data) < most * _LEAST_SCAN_BYTES or not _may_have_scans(data):
        return False
    # Data behind the picture, such as a phone's video, may contain the marker by chance.
    return data.count(_SCAN_MARKER) > most and _count_scans(data, most + 1) > most


def _may_have_scans(data: bytes) -> bool:
    """Return whether libjpeg looks for scans behind the first: in progressive pictures, and in
    those whose first scan hasn't all channels."""
    channels = 0
    for marker, begin, _ in segments(data):
        if marker in _FRAMES:
            channels = data[begin + 9] if len(data) > begin + 9 else 0
            if marker in _PROGRESSIVE:
                return True
        elif marker == SCAN:
            return data[begin + 4 : begin + 5] != bytes([channels])
    return False


def _count_scans(data: bytes, most: int) -> int:
    """Count the scans of a picture, up to `most`; return `most` if it has too many segments."""
    at = _find_scan(data)
    scans = 0
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None or found[0] == END or scans == most:
            return scans
        scans += found[0] == _SCAN_MARKER
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return most


def ends_early(data: bytes) -> bool:
    """Return whether a JPEG that doesn't decode lacks its end."""
    scan = _find_scan(data)
    return END not in (data[scan:] if scan < len(data) else data[-64:])


def lacks_pixels(data: bytes, image: Image.Image) -> bool:
    """Return whether a JPEG that decodes lacks its last pixels, which libjpeg then makes grey.

    `image` is loaded and has the colours of the file. A picture may really end in that grey. Then
    its pixels don't depend on bytes after its data, while those of a truncated one do.
    """
    if not data.endswith(END) and _find_end(data) < 0:
        return True
    last_pixel = image.crop((image.width - 1, image.height - 1, image.width, image.height))
    if any(abs(value - FILLER) > 1 for value in last_pixel.tobytes()):
        return False
    end = _find_end(data)
    with Image.open(io.BytesIO(data[:end] + _OTHER_PIXELS + data[end:])) as other:
        # In strips: copies of a large picture would fill the memory.
        tops = range(0, image.height, _STRIP_ROWS)
        strips = [(0, top, image.width, min(top + _STRIP_ROWS, image.height)) for top in tops]
        return any(other.crop(strip).tobytes() != image.crop(strip).tobytes() for strip in strips)


def _find_end(data: bytes) -> int:
    """Find the marker behind a JPEG's pixels; -1 if there is none."""
    return data.find(END, _find_scan(data))


def _find_scan(data: bytes) -> int:
    """Find the beginning of a JPEG's pixels: behind the thumbnail, which has an end of its own."""
    return next((begin for marker, begin, _ in segments(data) if marker == SCAN), len(data))


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, begin and end of each segment, up to the first one of pixels.

    The last one may be cut. Raises ImageError if there are too many.
    """
    at = 2
    found = 0
    while at + 4 <= len(data):
        marker = data[at + 1]
        if data[at] != 0xFF:
            at = data.find(b"\xff", at)  # libjpeg skips these bytes, too
            if at < 0:
                return
        elif marker == 0xFF:
            at += 1  # fill bytes
        elif marker in _WITHOUT_LENGTH:
            at += 2
        else:
            end = at + 2 + (data[at + 2] << 8 | data[at + 3])
            yield marker, at, end
            found += 1
            if marker == SCAN:
                return
            if found > _MOST_SEGMENTS:
                problem = f"over {_MOST_SEGMENTS:,} segments before its pixels"
                raise ImageError(ErrorCode.DECODE_ERROR, problem)
            at = end


# --- plain JPEGs, without Pillow ------------------------------------------------------------------


_HAS_SAME_LIBRARY = bool(features.check("libjpeg_turbo"))
"""Pillow's wheels have it; a Pillow that is built with another libjpeg makes other pixels."""

_PLAIN_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
"""Baseline, extended and progressive, in Huffman codes."""

_TABLES = frozenset({0xC4, 0xDB, 0xDD})
_FRAME_BYTES = 17
"""Bytes of the header of a frame of three channels, without its marker."""

_OF_8_BITS = bytes([0, _FRAME_BYTES, 8])


def decode_plain(data: bytes, max_pixels: int) -> RgbImage | None:
    """Decode a plain JPEG to uint8 RGB, shape (height, width, 3).

    `data` is what `jpeg.split` leaves of a file. None if Pillow has to decide about it.
    """
    pixels = _plain_pixels(data)
    if not 0 < pixels <= max_pixels or has_too_many_scans(data, pixels):
        return None
    try:
        pixels_HW3: RgbImage = simplejpeg.decode_jpeg(data)
    except ValueError:  # simplejpeg raises for mere warnings, too
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
        if begin != last_end:  # libraries skip bytes between segments in different ways
            return 0
        last_end = end
        if marker in _PLAIN_FRAMES:
            frame = data[begin + 2 : end]
            if pixels or len(frame) != _FRAME_BYTES or not frame.startswith(_OF_8_BITS):
                return 0
            pixels = (frame[3] << 8 | frame[4]) * (frame[5] << 8 | frame[6])
        elif marker == SCAN:
            return pixels
        elif marker not in _TABLES and marker not in COLOURS:
            return 0
    return 0


def encode_plain(image: RgbImage) -> bytes:
    """Encode an image as a plain JPEG."""
    return simplejpeg.encode_jpeg(image, quality=90)
