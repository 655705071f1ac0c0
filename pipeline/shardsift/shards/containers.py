"""What of an image file decides about its pixels, and how long it should be.

A picture's colour profile, text, resolution or EXIF block is read by nobody who wants its pixels.
Broken ones, or large ones, must not cost it: they are left out before Pillow sees the file.
"""

from __future__ import annotations

from shardsift.shards import avif, gif, jpeg, png, tiff

SIGNATURES = (jpeg.SIGNATURE, png.SIGNATURE, *gif.SIGNATURES, b"BM", *tiff.SIGNATURES)
"""How files begin, but for WebP and AVIF."""


def is_known(data: bytes) -> bool:
    """Tell whether the first bytes are those of a format that we know: then the rest is damaged."""
    is_webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    return data.startswith(SIGNATURES) or is_webp or avif.is_avif(data)


def split(data: bytes) -> tuple[bytes, bytes]:
    """Split a file into what decides about the pixels of its first picture, and its EXIF block.

    The first is a file of the same format. The second is empty if there is none, or if Pillow
    reads it.
    """
    if data.startswith(jpeg.SIGNATURE):
        return jpeg.split(data)
    if data.startswith(png.SIGNATURE):
        return png.split(data)
    if data.startswith(tiff.SIGNATURES):
        return tiff.without_asides(data), data  # which is built as an EXIF block is
    if data.startswith(gif.SIGNATURES):
        return gif.without_asides(data), b""
    return (avif.without_asides(data) if avif.is_avif(data) else data), b""


def problem_of(data: bytes) -> str | None:
    """Tell what Pillow would read wrongly, or not at all; None if there is no such thing."""
    if data.startswith(png.SIGNATURE):
        return png.problem_of(data)
    return tiff.problem_of(data) if data.startswith(tiff.SIGNATURES) else None


def ends_early(data: bytes) -> bool:
    """Tell whether a file that doesn't decode lacks the end that its format demands."""
    if data.startswith(jpeg.SIGNATURE):
        return jpeg.ends_early(data)
    if data.startswith(png.SIGNATURE):
        return png.ends_early(data)
    if data.startswith(gif.SIGNATURES):
        return gif.ends_early(data)
    if data.startswith(b"RIFF") and len(data) >= 8:
        return len(data) < int.from_bytes(data[4:8], "little") + 8
    if data.startswith(b"BM") and len(data) >= 6:
        return len(data) < int.from_bytes(data[2:6], "little")
    if data.startswith(tiff.SIGNATURES):
        return tiff.ends_early(data)
    return avif.is_avif(data) and avif.ends_early(data)
