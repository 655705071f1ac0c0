"""Picture files that take most memory or time of their kind, within what `max_pixels` allows."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image

from tests.samples import File, encoded, png_chunk, saved

WIDTH, HEIGHT = 9400, 9500
"""89.3 megapixels: `max_pixels` is 89.5."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def empty_segments() -> File:
    """A JPEG of four million empty comments."""
    jpeg = encoded()
    return "segments.jpg", jpeg[:2] + b"\xff\xfe\0\2" * 4_000_000 + jpeg[2:]


def many_scans(width: int = WIDTH, height: int = HEIGHT) -> File:
    """A progressive JPEG whose last scan stands there 200 times more."""
    jpeg = saved(Image.new("RGB", (width, height), "teal"), "JPEG", progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    return "scans.jpg", jpeg[:last] + jpeg[last:-2] * 200 + b"\xff\xd9"


def progressive() -> File:
    """A progressive JPEG as programs write it: libjpeg holds all its coefficients."""
    return "progressive.jpg", saved(_clouds("RGB"), "JPEG", progressive=True)


def grey_end() -> File:
    """A JPEG that ends in the grey of missing pixels, so that it is decoded twice."""
    return "grey.jpg", saved(Image.new("RGB", (WIDTH, HEIGHT), (128, 128, 128)), "JPEG")


def cmyk() -> File:
    """A JPEG of four colours."""
    return "cmyk.jpg", saved(_clouds("CMYK"), "JPEG")


def deep_and_clear() -> File:
    """A PNG of 16 bits a channel that has a transparent colour."""
    row = b"\0" + bytes(6 * WIDTH)
    pixels = zlib.compressobj(1)
    data = b"".join(pixels.compress(row) for _ in range(HEIGHT)) + pixels.flush()
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"tRNS", bytes(6)), (b"IDAT", data), (b"IEND", b"")]
    return "clear.png", _SIGNATURE + b"".join(png_chunk(*chunk) for chunk in chunks)


def many_chunks() -> File:
    """A PNG with four million empty chunks."""
    png = encoded("PNG")
    end = png.index(b"IDAT") - 4
    return "chunks.png", png[:end] + png_chunk(b"teXt", b"") * 4_000_000 + png[end:]


def alpha() -> File:
    """A WebP with transparency."""
    image = Image.new("RGBA", (9400, 9500), (90, 120, 30, 128))
    return "alpha.webp", saved(image, "WEBP", lossless=True, quality=0, method=0)


def many_extensions() -> File:
    """A GIF of four million empty comments."""
    gif = encoded("GIF")
    begin = 13 + 3 * (2 << (gif[10] & 7))  # behind the palette
    return "comments.gif", gif[:begin] + b"!\xfe\0" * 4_000_000 + gif[begin:]


def avif() -> File:
    """An AVIF, whose decoder has threads of its own."""
    return "large.avif", saved(_clouds("RGB"), "AVIF", speed=10)


def tiff() -> File:
    """A TIFF of 16 bits that counts from white."""
    greys = Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint16))
    return "deep.tiff", saved(greys, "TIFF", compression="tiff_lzw")


def _clouds(mode: str) -> Image.Image:
    small = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    return Image.fromarray(small).resize((WIDTH, HEIGHT)).convert(mode)


WORST: Mapping[str, tuple[Callable[[], File], str | None]] = {
    "JPEG, 4 million empty segments": (empty_segments, "decode_error"),
    "JPEG, 210 scans": (many_scans, "too_slow"),
    "JPEG, progressive": (progressive, None),
    "JPEG, grey to its end": (grey_end, None),
    "JPEG, CMYK": (cmyk, None),
    "PNG, 16 bits, a transparent colour": (deep_and_clear, None),
    "PNG, 4 million empty chunks": (many_chunks, "decode_error"),
    "WebP, transparent": (alpha, None),
    "GIF, 4 million comments": (many_extensions, None),
    "AVIF": (avif, None),
    "TIFF, 16 bits": (tiff, None),
}
"""Makers of the files, and the error code of each row, None if it has a score."""
