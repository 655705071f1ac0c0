"""A plain JPEG has the pixels that Pillow gives it; Pillow decides about all others."""

from __future__ import annotations

import io

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from shardsift.errors import ImageError
from shardsift.images import jpeg
from shardsift.images.decode import decode_rgb
from shardsift.records import RgbImage
from tests.samples import encoded, picture, saved

MAX_PIXELS = 1_000_000
SIZES = [(2, 1), (8, 8), (17, 3), (33, 65), (300, 260)]
WAYS = [
    *({"subsampling": way, "progressive": p} for way in (0, 1, 2) for p in (False, True)),
    {"restart_marker_blocks": 3},
    {"restart_marker_rows": 1, "progressive": True},
    {"keep_rgb": True},
    {"quality": 10},
    {"quality": 100, "optimize": True},
]


def decoded(data: bytes) -> RgbImage | None:
    return jpeg.decode_plain(data, MAX_PIXELS)


def by_pillow(data: bytes) -> RgbImage:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_way_to_write_a_jpeg_has_pillows_pixels(
    way: dict[str, int], size: tuple[int, int]
) -> None:
    data = saved(picture(*size), "JPEG", **way)
    np.testing.assert_array_equal(decoded(data), by_pillow(data))


@pytest.mark.parametrize("subsampling", ["444", "422", "420", "440", "411"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_so_has_every_subsampling(subsampling: str, size: tuple[int, int]) -> None:
    pixels = np.ascontiguousarray(picture(*size))
    data = simplejpeg.encode_jpeg(pixels, colorsubsampling=subsampling)
    np.testing.assert_array_equal(decoded(data), by_pillow(data))


@pytest.mark.parametrize(
    "data",
    [
        encoded("PNG"),
        saved(picture().convert("L"), "JPEG"),
        saved(picture().convert("CMYK"), "JPEG"),
        encoded("JPEG")[:-2],
        encoded("JPEG") + b"\0",
        encoded("JPEG")[:2] + b"\xff" + encoded("JPEG")[2:],
        b"\xff\xd8\xff\xd9",
        b"",
    ],
    ids=[
        *("PNG", "grey", "CMYK", "no end", "bytes behind the end", "a filler byte"),
        *("no frame", "empty"),
    ],
)
def test_pillow_decides_about_what_is_not_plain(data: bytes) -> None:
    assert decoded(data) is None


def test_pillow_decides_about_what_libjpeg_warns_of() -> None:
    data = encoded("JPEG")
    cut = data[: len(data) // 2] + b"\xff\xd9"
    assert decoded(cut) is None
    with pytest.raises(ImageError, match="the last pixels are missing"):
        decode_rgb(cut, MAX_PIXELS)


def test_pillow_decides_about_a_picture_that_ends_in_the_grey_of_missing_pixels() -> None:
    data = saved(Image.new("RGB", (20, 20), (128, 128, 128)), "JPEG")
    assert decoded(data) is None
    assert decode_rgb(data, MAX_PIXELS).shape == (20, 20, 3)


def test_a_large_one_is_refused_before_it_is_decoded() -> None:
    assert jpeg.decode_plain(encoded("JPEG"), 300 * 260 - 1) is None
    with pytest.raises(ImageError, match="300x260 is over the limit of 77999 pixels"):
        decode_rgb(encoded("JPEG"), 300 * 260 - 1)
