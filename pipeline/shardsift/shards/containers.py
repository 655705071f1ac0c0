"""What of an image file decides about its pixels, and how long it should be.

A picture's colour profile, text, resolution or EXIF block is read by nobody who wants its pixels.
Broken ones, or large ones, must not cost it: they are left out before Pillow sees the file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from shardsift.shards import avif, gif, jpeg, png, tiff


class _Container(NamedTuple):
    """What is known of a format.

    `split` gives what decides about the pixels of the first picture, as a file, and its EXIF block,
    which is empty if there is none or Pillow reads it. `problem_of` tells what Pillow would read
    wrongly, or not at all.
    """

    matches: Callable[[bytes], bool]
    ends_early: Callable[[bytes], bool]
    split: Callable[[bytes], tuple[bytes, bytes]] = lambda data: (data, b"")
    problem_of: Callable[[bytes], str | None] = lambda data: None


def _begins(*signatures: bytes) -> Callable[[bytes], bool]:
    return lambda data: data.startswith(signatures)


def _never(data: bytes) -> bool:
    return False


def _is_webp(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def _webp_ends_early(data: bytes) -> bool:
    return len(data) < int.from_bytes(data[4:8], "little") + 8


def _bmp_ends_early(data: bytes) -> bool:
    return len(data) >= 6 and len(data) < int.from_bytes(data[2:6], "little")


_CONTAINERS = (
    _Container(_begins(jpeg.SIGNATURE), jpeg.ends_early, jpeg.split),
    _Container(_begins(png.SIGNATURE), png.ends_early, png.split, png.problem_of),
    _Container(_is_webp, _webp_ends_early),
    _Container(_begins(*gif.SIGNATURES), gif.ends_early, gif.split),
    _Container(_begins(b"BM"), _bmp_ends_early),
    _Container(_begins(*tiff.SIGNATURES), tiff.ends_early, tiff.split, tiff.problem_of),
    _Container(avif.is_avif, avif.ends_early, avif.split),
)
_UNKNOWN = _Container(_never, _never)


def is_known(data: bytes) -> bool:
    """Tell whether the first bytes are those of a format that we know: then the rest is damaged."""
    return _container_of(data) is not _UNKNOWN


def split(data: bytes) -> tuple[bytes, bytes]:
    """Split a file into what decides about the pixels of its first picture, and its EXIF block.

    The first is a file of the same format. The second is empty if there is none, or if Pillow
    reads it.
    """
    return _container_of(data).split(data)


def problem_of(data: bytes) -> str | None:
    """Tell what Pillow would read wrongly, or not at all; None if there is no such thing."""
    return _container_of(data).problem_of(data)


def ends_early(data: bytes) -> bool:
    """Tell whether a file that doesn't decode lacks the end that its format demands."""
    return _container_of(data).ends_early(data)


def _container_of(data: bytes) -> _Container:
    return next((each for each in _CONTAINERS if each.matches(data)), _UNKNOWN)
