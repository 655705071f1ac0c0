"""Every mode becomes RGB in one way, and every bad file gets its code."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from shardsift.errors import ImageError, InputError
from shardsift.images.decode import as_rgb, decode_rgb
from shardsift.records import RgbImage
from tests.fuzz.limits import bounded
from tests.samples import encoded, picture, png_chunk, resized, saved

MAX_PIXELS = 1_000_000


def decoded(data: bytes) -> RgbImage:
    return decode_rgb(data, MAX_PIXELS)


def code_of(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decoded(data)
    return caught.value.code


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_keep_every_pixel(kind: str) -> None:
    np.testing.assert_array_equal(decoded(saved(picture(), kind)), np.asarray(picture()))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF", "AVIF"])
def test_lossy_formats_come_close(kind: str) -> None:
    difference = decoded(saved(picture(), kind)).astype(int) - np.asarray(picture())
    assert np.abs(difference).mean() < 12


def test_of_an_animation_the_first_frame_counts() -> None:
    first, second = (Image.new("RGB", (20, 20), colour) for colour in ("red", "blue"))
    gif = saved(first, "GIF", save_all=True, append_images=[second])
    np.testing.assert_array_equal(decoded(gif)[0, 0], [255, 0, 0])


def test_a_colour_profile_is_not_applied() -> None:
    """Pixels stay as they are: neither the published code nor loaders apply profiles."""
    plain, profiled = saved(picture()), saved(picture(), icc_profile=wide_gamut())
    assert b"iCCP" in profiled
    np.testing.assert_array_equal(decoded(profiled), decoded(plain))


def wide_gamut() -> bytes:
    """An sRGB profile with red and green swapped: applied, it would show in every pixel."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("L", (9, 9), 77), (77, 77, 77)),
        (Image.new("1", (9, 9), 1), (255, 255, 255)),
        (Image.new("RGB", (9, 9), "lime").convert("P"), (0, 255, 0)),
        (Image.new("RGBA", (9, 9), (255, 0, 0, 0)), (255, 255, 255)),
        (Image.new("RGBA", (9, 9), (0, 0, 0, 51)), (204, 204, 204)),
        (Image.new("LA", (9, 9), (0, 0)), (255, 255, 255)),
        (Image.fromarray(np.full((9, 9), 0x80FF, np.uint16)), (0x80, 0x80, 0x80)),
    ],
    ids=["grey", "1 bit", "palette", "transparent", "alpha", "grey alpha", "16 bit"],
)
def test_modes_become_rgb(image: Image.Image, expected: tuple[int, int, int]) -> None:
    np.testing.assert_array_equal(decoded(saved(image))[4, 4], expected)


def test_cmyk_becomes_rgb() -> None:
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    red = decoded(saved(cmyk, "JPEG", quality=100))[8, 8]
    assert np.abs(red.astype(int) - [255, 0, 0]).max() < 4


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has nothing behind it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(b""))
    )


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (lambda: b"", "truncated"),
        (lambda: encoded("JPEG")[:900], "truncated"),
        (lambda: encoded("PNG")[:900], "truncated"),
        (lambda: encoded("WEBP")[:-200], "truncated"),
        (lambda: encoded("BMP")[:900], "truncated"),
        (lambda: encoded("GIF")[:900], "truncated"),
        (lambda: encoded("TIFF")[:900], "truncated"),
        (lambda: encoded("AVIF")[:900], "truncated"),
        (lambda: b"\xff\xd8\xff", "truncated"),
        (lambda: b"once upon a time", "unsupported_format"),
        (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported_format"),
        (lambda: encoded("PPM"), "unsupported_format"),
        (lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "unsupported_format"),
        (lambda: png_header(30_000, 30_000), "too_large"),
        (lambda: png_header(1001, 1000), "too_large"),
        (lambda: corrupted(encoded("PNG")), "decode_error"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_bad_files_get_their_code(data: Callable[[], bytes], code: str) -> None:
    assert code_of(data()) == code


def corrupted(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(64) + data[middle + 64 :]


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_a_bomb_is_refused_by_its_header(kind: str, tmp_path: Path) -> None:
    """Decoded, it would take 432 MB. PNG, whose header has a checksum, is among the bad files."""
    bomb = resized(encoded(kind), 12_000, 12_000)
    with bounded(bomb, tmp_path, mebibytes=16):
        assert code_of(bomb) == "too_large"


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16"])
def test_an_image_in_memory_becomes_rgb_as_its_file_does(mode: str) -> None:
    image = picture().convert("L").convert("I;16") if mode == "I;16" else picture().convert(mode)
    kind = "TIFF" if mode == "CMYK" else "PNG"
    np.testing.assert_array_equal(as_rgb(image, "image"), decoded(saved(image, kind)))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 224, 224), np.uint8),
        np.zeros((224, 224), np.uint8),
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((224, 224, 3), np.float32),
    ],
    ids=["channels first", "grey", "empty", "float"],
)
def test_an_array_that_is_no_rgb_says_what_would_be(array: np.ndarray) -> None:
    advice = "pass paths, PIL images, bytes of image files, or uint8 arrays of shape"
    with pytest.raises(InputError, match=f"^image 7: .* {advice}"):
        as_rgb(array, "image 7")


def test_an_image_in_memory_whose_file_is_broken_says_so() -> None:
    lazy = Image.open(io.BytesIO(encoded()[:2000]))
    with pytest.raises(ImageError, match="image 7") as caught:
        as_rgb(lazy, "image 7")
    assert caught.value.code == "truncated"
