"""A TIFF's pixels are right, or it is `unsupported_format`; never something in between."""

from __future__ import annotations

import io
import struct
import tracemalloc
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from shardsift.errors import ImageError
from shardsift.images.decode import decode_rgb
from shardsift.images.formats import orientation
from shardsift.records import RgbImage
from tests.samples import tiff_bytes

HEIGHT, WIDTH = 20, 32
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
PIECES = [{}, {"tile": (16, 16)}, {"compression": "zlib"}, {"compression": "zlib", "predictor": 2}]
"""Raw strips and tiles, which Pillow reads, and compressed ones, which libtiff reads."""


def values(bits: int, channels: int = 1) -> NDArray[np.uint16]:
    """Different numbers in all places, with low bytes of their own."""
    planes = [(5 * ROWS + 3 * COLUMNS + 37 * channel) % 256 for channel in range(channels)]
    wide = np.stack([plane * 256 + (7 * ROWS + COLUMNS) % 256 for plane in planes], axis=2)
    return (wide >> (16 - bits)).astype(np.uint16)


def written(pixels: NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def grey(levels_HW: NDArray[Any]) -> RgbImage:
    return np.repeat(levels_HW[..., None], 3, axis=2).astype(np.uint8)


def read(data: bytes) -> RgbImage | str:
    """Pixels, or the code of the error."""
    try:
        return decode_rgb(data, 10**6)
    except ImageError as error:
        return str(error.code)


def check(data: bytes, expected: RgbImage, *, may_refuse: bool = False, within: int = 0) -> None:
    found = read(data)
    if isinstance(found, str):
        assert may_refuse
        assert found == "unsupported_format"
    else:
        assert np.abs(found.astype(int) - expected).max() <= within


@pytest.mark.parametrize("pieces", PIECES, ids=str)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 16])
class TestLayouts:
    def options(self, pieces: dict[str, Any], order: str) -> dict[str, Any]:
        return pieces | {"byteorder": order}

    @pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
    def test_grey(self, pieces: dict[str, Any], order: str, bits: int, photometric: str) -> None:
        levels_HW = values(bits)[..., 0]
        data = written(
            levels_HW.astype(f"u{bits // 8}"),
            photometric=photometric,
            **self.options(pieces, order),
        )
        high_HW = levels_HW >> (bits - 8)
        is_white = photometric == "miniswhite"
        check(data, grey(255 - high_HW if is_white else high_HW), may_refuse=is_white)

    @pytest.mark.parametrize("planes", ["contig", "separate"])
    @pytest.mark.parametrize("extra", [None, "unassalpha", "unspecified"])
    def test_colour(
        self, pieces: dict[str, Any], order: str, bits: int, planes: str, extra: str | None
    ) -> None:
        pixels = values(bits, 4 if extra else 3)
        top, shift = 2**bits - 1, bits - 8
        expected = pixels[..., :3] >> shift
        if extra == "unassalpha":
            alpha = pixels[..., 3:] / top
            expected = np.round((pixels[..., :3] * alpha + top * (1 - alpha)) / top * 255)
        data = written(
            (np.moveaxis(pixels, 2, 0) if planes == "separate" else pixels).astype(f"u{bits // 8}"),
            photometric="rgb",
            planarconfig=planes,
            extrasamples=[extra] if extra else None,
            **self.options(pieces, order),
        )
        is_usual = planes == "contig" or (bits == 8 and not extra)
        within = 2 if extra == "unassalpha" else 0
        check(data, expected.astype(np.uint8), may_refuse=not is_usual, within=within)

    @pytest.mark.parametrize("extra", ["unassalpha", "assocalpha", "unspecified"])
    def test_grey_with_alpha(
        self, pieces: dict[str, Any], order: str, bits: int, extra: str
    ) -> None:
        pixels, top = values(bits, 2).astype(float), 2**bits - 1
        alpha = pixels[..., 1] / top
        if extra == "assocalpha":
            pixels[..., 0] = np.floor(pixels[..., 0] * alpha)
            expected = pixels[..., 0] / top * 255 + 255 * (1 - alpha)
        elif extra == "unassalpha":
            expected = pixels[..., 0] / top * 255 * alpha + 255 * (1 - alpha)
        else:
            expected = pixels[..., 0] // 2 ** (bits - 8)
        data = written(
            pixels.astype(f"u{bits // 8}"),
            photometric="minisblack",
            planarconfig="contig",
            extrasamples=[extra],
            **self.options(pieces, order),
        )
        within = 0 if extra == "unspecified" else 3
        check(data, grey(np.round(expected)), may_refuse=bits == 16, within=within)

    def test_signed_numbers(self, pieces: dict[str, Any], order: str, bits: int) -> None:
        levels = values(bits)[..., 0].astype(f"i{bits // 8}")
        data = written(levels, photometric="minisblack", **self.options(pieces, order))
        assert read(data) == "unsupported_format"

    @pytest.mark.parametrize("high", [True, False])
    def test_a_palette(self, pieces: dict[str, Any], order: str, bits: int, high: bool) -> None:
        """One whose numbers are below 256 means 8 bits, against the specification."""
        colours = np.random.default_rng(0).integers(256, 65536, (3, 2**bits)).astype(np.uint16)
        levels = values(bits)[..., 0].astype(f"u{bits // 8}")
        data = written(
            levels,
            photometric="palette",
            colormap=colours if high else colours >> 8,
            **self.options(pieces, order),
        )
        expected = np.moveaxis(colours[:, levels] >> 8, 0, 2).astype(np.uint8)
        check(data, expected, may_refuse=bits == 16 or not high)


@pytest.mark.parametrize("bits", [1, 2, 4, 10, 12, 14])
@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("order", ["<", ">"])
def test_greys_of_few_bits_are_scaled_and_of_other_many_refused(
    bits: int, photometric: int, order: str
) -> None:
    levels_HW = values(bits)[..., 0]
    digits = "".join(f"{level:0{bits}b}" for level in levels_HW.ravel().tolist())
    pixels = int(digits, 2).to_bytes(len(digits) // 8, "big")
    data = tiff_bytes(pixels, WIDTH, HEIGHT, (), order, bits=bits, photometric=photometric)
    if bits > 8:
        assert read(data) == "unsupported_format"
        return
    scaled_HW = levels_HW.astype(int) * 255 // (2**bits - 1)
    check(data, grey(scaled_HW if photometric else 255 - scaled_HW))


@pytest.mark.parametrize("kind", ["u4", "i4", "f2", "f4", "f8"])
@pytest.mark.parametrize("channels", [1, 3])
def test_wide_and_fractional_numbers_have_no_white(kind: str, channels: int) -> None:
    pixels = values(8, channels).astype(kind)
    photometric = "rgb" if channels == 3 else "minisblack"
    data = written(pixels if channels == 3 else pixels[..., 0], photometric=photometric)
    assert read(data) == "unsupported_format"


def test_a_large_tiff_is_a_tiff() -> None:
    pixels = values(8, 3).astype(np.uint8)
    data = written(pixels, photometric="rgb", bigtiff=True, extratags=[(274, "H", 1, 6)])
    check(data, np.rot90(pixels, -1))
    assert read(data[:-40]) == "truncated"


@pytest.mark.parametrize("bits", [0, 7, 200, 65535])
def test_a_picture_of_no_known_number_of_bits_is_unsupported(bits: int) -> None:
    assert read(tiff_bytes(bytes(600), 20, 30, bits=bits)) == "unsupported_format"


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("bits", [1, 8, 16])
def test_a_grey_that_claims_to_be_a_plane_is_right_or_refused(bits: int, photometric: int) -> None:
    levels_HW = values(bits)[..., 0]
    digits = "".join(f"{level:0{bits}b}" for level in levels_HW.ravel().tolist())
    pixels = int(digits, 2).to_bytes(len(digits) // 8, "big")
    more = [(284, 3, 2)]  # planes, each by itself
    data = tiff_bytes(pixels, WIDTH, HEIGHT, more, ">", bits=bits, photometric=photometric)
    eight_HW = levels_HW >> 8 if bits == 16 else levels_HW * (255 // (2**bits - 1))
    may_refuse = (bits, photometric) != (8, 1)
    check(data, grey(eight_HW if photometric else 255 - eight_HW), may_refuse=may_refuse)


@pytest.mark.parametrize("tag", [258, 273, 279, 338, 530])
def test_a_tag_of_billions_of_values_takes_no_memory(tag: int) -> None:
    data = bytearray(tiff_bytes(bytes(1 << 18), 512, 512, [(338, 4, 0), (530, 4, 1)]))
    entry = data.rindex(struct.pack("<HHI", tag, 4, 1))
    data[entry + 4 : entry + 8] = b"\xff" * 4
    tracemalloc.start()
    with suppress(ImageError):
        decode_rgb(bytes(data), 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20


@pytest.mark.parametrize("photometric", [4, 7, 9, 32803, 32844, 34892, 65535])
def test_a_picture_of_no_known_colours_is_unsupported(photometric: int) -> None:
    data = tiff_bytes(bytes(600), 20, 30, photometric=photometric)
    assert read(data) == "unsupported_format"


@pytest.mark.parametrize("compression", [0, 9, 34712, 50001, 52546])
def test_a_picture_of_no_known_compression_is_unsupported(compression: int) -> None:
    data = tiff_bytes(bytes(600), 20, 30, compression=compression)
    assert read(data) == "unsupported_format"


@pytest.mark.parametrize("block", [b"", b"II*\0", b"MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0II*\0"])
def test_a_block_without_an_orientation_is_upright(block: bytes) -> None:
    assert orientation(block) == 1
