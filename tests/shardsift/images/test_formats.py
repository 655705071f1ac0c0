"""An image that lacks its end is `truncated`, and never scored on what libjpeg paints instead."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from shardsift.errors import ImageError
from shardsift.images.decode import decode_rgb
from tests.samples import File, encoded, picture, tiff_bytes
from tests.worst import empty_segments, many_chunks, many_scans

JPEG_END = b"\xff\xd9"
HEADER = 700
"""Bytes of a JPEG that Pillow writes before its pixels, and some."""


def jpeg(mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    picture().convert(mode).save(file, "JPEG", **options)  # pyright: ignore[reportArgumentType]
    return file.getvalue()


def code_of(data: bytes) -> str | None:
    try:
        decode_rgb(data, 10**6)
    except ImageError as error:
        return error.code
    return None


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "AVIF"])
def test_an_image_may_be_cut_anywhere(kind: str) -> None:
    whole = encoded(kind)
    assert code_of(whole) is None
    for end in range(len(whole) // 10, len(whole) * 9 // 10, len(whole) // 100):
        assert code_of(whole[:end]) == "truncated", end


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "packbits"])
def test_a_tiff_is_cut_where_a_strip_lies_beyond_its_end(compression: str | None) -> None:
    file = io.BytesIO()
    picture().save(file, "TIFF", compression=compression)
    whole = file.getvalue()
    assert code_of(whole) is None
    assert {code_of(whole[:end]) for end in (9, 100, len(whole) // 2)} == {"truncated"}


@pytest.mark.parametrize(
    "whole",
    [
        jpeg(),
        jpeg("L"),
        jpeg("CMYK"),
        jpeg(restart_marker_rows=1),
        jpeg(restart_marker_blocks=1),
        jpeg(exif=b"Exif\0\0thumbnail" + JPEG_END),
    ],
    ids=["colour", "grey", "CMYK", "restarts by row", "restarts by block", "thumbnail"],
)
def test_a_cut_jpeg_that_was_closed_again_is_truncated(whole: bytes) -> None:
    """Pillow decodes it without a word, and its lower part is grey."""
    assert code_of(whole) is None
    for end in range(HEADER, len(whole) - 32, len(whole) // 100):
        assert code_of(whole[:end] + JPEG_END) == "truncated", end


def test_a_jpeg_filled_up_with_zeros_is_truncated() -> None:
    """As downloads leave it that reserve their room first."""
    whole = jpeg()
    for padding in (100, 10_000, 1_000_000):
        assert code_of(whole[: len(whole) // 2] + bytes(padding)) == "truncated"


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_picture_that_ends_in_that_grey_is_whole(mode: str, progressive: bool) -> None:
    pixels = np.asarray(picture()).copy()
    pixels[100:] = 128
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "JPEG", progressive=progressive)
    assert decode_rgb(file.getvalue(), 10**6)[-1, -1].tolist() == [128, 128, 128]


def test_what_follows_the_end_of_a_jpeg_does_not_matter() -> None:
    pixels = np.full((64, 64, 3), 128, np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    assert code_of(file.getvalue() + b"appended" + JPEG_END) is None


@pytest.mark.parametrize("make", [empty_segments, many_chunks])
def test_millions_of_parts_are_refused_before_they_fill_the_memory(
    make: Callable[[], File],
) -> None:
    _, data = make()
    assert code_of(data) == "decode_error"


def test_a_jpeg_of_hundreds_of_scans_is_refused_by_their_number() -> None:
    _, data = many_scans(4000, 4000)
    with pytest.raises(ImageError, match="so many scans") as caught:
        decode_rgb(data, 10**8)
    assert caught.value.code == "too_slow"
    _, few = many_scans(400, 400)
    assert decode_rgb(few, 10**8).shape == (400, 400, 3)


def test_what_stands_behind_a_jpeg_is_no_scan() -> None:
    """As the video that phones append."""
    jpeg = encoded()
    assert decode_rgb(jpeg + b"\xff\xda" * 40_000, 10**8).shape == (260, 300, 3)


def test_scans_are_counted_past_what_looks_like_an_end() -> None:
    _, data = many_scans(4000, 4000)
    first = data.index(b"\xff\xda")
    hidden = data[:first] + b"\xff\xfe\0\6\xff\xd9\xff\xd9" + data[first:]
    with pytest.raises(ImageError, match="so many scans"):
        decode_rgb(hidden, 10**8)


def test_a_tiff_of_millions_of_strips_is_refused() -> None:
    strips = 1 + (1 << 20)
    tiff = tiff_bytes(bytes(4 * strips), 4, strips, offset=8)
    entry = tiff.index(struct.pack("<HHI", 273, 4, 1))
    many = tiff[:entry] + struct.pack("<HHII", 273, 4, strips, 8) + tiff[entry + 12 :]
    assert code_of(many) == "unsupported_format"
