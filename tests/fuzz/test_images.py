"""`decode_rgb` gives RGB or an error of the closed set for any bytes."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shardsift.errors import ErrorCode, ImageError
from shardsift.images import jpeg
from shardsift.images.decode import decode_rgb
from shardsift.images.formats import split
from shardsift.records import RgbImage
from tests.fuzz.limits import LONG, bounded, count, examples
from tests.samples import picture, resized

MAX_PIXELS = 1 << 20
MEBIBYTES = 64
"""An image of a mebipixel takes 3 MiB as RGB, 4 as RGBA, and a few copies on the way."""

CODES = set(ErrorCode) - {ErrorCode.MISSING_IMAGE, ErrorCode.NON_FINITE}
"""Error codes of images; the other two are those of samples and scores."""

Mutation = Callable[[bytes], bytes]


def saved(kind: str, mode: str = "RGB", /, **options: object) -> bytes:
    file = io.BytesIO()
    image = picture(48, 40).convert(mode)
    image.save(file, kind, **options)  # pyright: ignore[reportArgumentType]
    return file.getvalue()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation
    exif[0x010E] = "described"
    return exif


def deep_grey(kind: str) -> bytes:
    file = io.BytesIO()
    grey = np.arange(48 * 40, dtype=np.uint16).reshape(40, 48) * 30
    Image.fromarray(grey).save(file, kind)
    return file.getvalue()


@cache
def corpus() -> tuple[bytes, ...]:
    """Valid images of every format, and of many ways to write it."""
    frames = [picture(48, 40, seed).convert("P") for seed in range(3)]
    return (
        *(saved("JPEG", mode) for mode in ("RGB", "L", "CMYK")),
        *(saved("JPEG", progressive=True, icc_profile=b"p" * 300), saved("JPEG", exif=turned())),
        *(saved("PNG", mode) for mode in ("RGB", "L", "P", "1", "RGBA", "LA")),
        *(saved("PNG", "P", transparency=0), deep_grey("PNG")),
        *(saved("WEBP", lossless=lossless) for lossless in (False, True)),
        *(saved("WEBP", "RGBA"), saved("WEBP", save_all=True, append_images=frames)),
        *(saved("GIF", "P", transparency=3), saved("GIF", "P", interlace=True)),
        saved("GIF", "P", save_all=True, append_images=frames, duration=10),
        *(saved("BMP", mode) for mode in ("RGB", "L", "P", "1", "RGBA")),
        *(saved("TIFF", mode) for mode in ("RGB", "L", "P", "1", "CMYK", "RGBA", "LAB", "F")),
        *(saved("TIFF", compression=name) for name in ("tiff_lzw", "tiff_deflate", "jpeg")),
        *(saved("TIFF", "1", compression="group4"), deep_grey("TIFF")),
        saved("TIFF", save_all=True, append_images=frames),
        *(saved("AVIF", mode) for mode in ("RGB", "L", "RGBA")),
        *(saved("AVIF", save_all=True, append_images=frames), saved("AVIF", exif=turned())),
        *(
            saved("JPEG", restart_marker_rows=1),
            saved("MPO", save_all=True, append_images=[picture(48, 40)]),
        ),
    )


def put(data: bytes, place: float, new: bytes, instead_of: int) -> bytes:
    """`data` with `new` in place of so many bytes; `place` is 0 at the begin and 1 at the end."""
    begin = int(place * len(data))
    return data[:begin] + new + data[begin + instead_of :]


def flip_bit(place: float, bit: int) -> Mutation:
    def mutate(data: bytes) -> bytes:
        begin = min(int(place * len(data)), len(data) - 1)
        return put(data, begin / len(data), bytes([data[begin] ^ 1 << bit]), 1) if data else data

    return mutate


def replace(place: float, new: bytes, instead_of: int) -> Mutation:
    return lambda data: put(data, place, new, instead_of)


def write_number(place: float, number: int, form: str) -> Mutation:
    """A field of 2 or 4 bytes of either order becomes a number: sizes, counts, offsets."""
    return lambda data: put(data, place, struct.pack(form, number), struct.calcsize(form))


def repeat(begin: float, length: int, times: int) -> Mutation:
    def mutate(data: bytes) -> bytes:
        start = int(begin * len(data))
        return put(data, begin, data[start : start + length] * times, length)

    return mutate


def splice(place: float, other: int, other_place: float) -> Mutation:
    def mutate(data: bytes) -> bytes:
        donor = corpus()[other % len(corpus())]
        return data[: int(place * len(data))] + donor[int(other_place * len(donor)) :]

    return mutate


def resize(width: int, height: int) -> Mutation:
    return lambda data: resized(data, width, height)


def repair_png(data: bytes) -> bytes:
    """Right checksums for all chunks: or no damage would come further than to the first."""
    if not data.startswith(b"\x89PNG"):
        return data
    whole, at = data[:8], 8
    while at + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        chunk = data[at + 4 : at + 8 + size]
        whole += struct.pack(">I", size) + chunk + struct.pack(">I", zlib.crc32(chunk))
        at += size + 12
    return whole


PLACE = (st.integers(0, 1000) | st.integers(10, 150)).map(lambda number: number / 1000)
"""Rarely the signature, often the headers behind it."""
SIZES = st.sampled_from([0, 1, 47, 1000, 1 << 12, 1 << 16, (1 << 24) - 1, (1 << 31) - 1])
EDGES = [0, 1, 255, 1 << 15, (1 << 16) - 1, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]

MUTATIONS = st.one_of(
    st.builds(flip_bit, PLACE, st.integers(0, 7)),
    st.builds(write_number, PLACE, st.sampled_from(EDGES), st.sampled_from(["<I", ">I"])),
    st.builds(write_number, PLACE, st.integers(0, 65535), st.sampled_from(["<H", ">H"])),
    st.builds(replace, PLACE, st.binary(max_size=64), st.just(0)),
    st.builds(replace, PLACE, st.just(b""), st.integers(1, 400)),
    st.builds(repeat, PLACE, st.integers(1, 300), st.integers(2, 50)),
    st.builds(splice, PLACE, st.integers(0, 99), PLACE),
    st.builds(resize, SIZES, SIZES),
    st.builds(replace, PLACE, st.just(b""), st.just(1 << 20)),
    st.just(repair_png),
)
"""Flip, set, insert, delete, repeat, splice, resize, truncate, repair."""


@pytest.fixture(autouse=True)
def _quiet() -> None:
    warnings.simplefilter("ignore")  # Pillow warns of bombs and of bad EXIF


def decoded(data: bytes) -> RgbImage | ErrorCode:
    try:
        return decode_rgb(data, MAX_PIXELS)
    except ImageError as error:
        str(error).encode()  # goes into a column of strings
        return error.code


def check(data: bytes, folder: Path) -> None:
    """The promise: RGB within the limit, or a code of the closed set."""
    with bounded(data, folder, MEBIBYTES):
        image = decoded(data)
    count("decoded" if isinstance(image, np.ndarray) else image)
    if isinstance(image, np.ndarray):
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3
        assert 0 < image.shape[0] * image.shape[1] <= MAX_PIXELS
        assert image.flags.c_contiguous
    else:
        assert image in CODES


def test_the_corpus_is_sound() -> None:
    images = [decoded(data) for data in corpus()]
    refused = [image for image in images if not isinstance(image, np.ndarray)]
    assert refused == [ErrorCode.UNSUPPORTED_FORMAT] * 2  # Lab and float pixels
    shapes = {image.shape for image in images if isinstance(image, np.ndarray)}
    assert shapes == {(40, 48, 3), (48, 40, 3)}


@examples(quick=250, long=12_000)
@given(original=st.integers(0, 99), mutations=st.lists(MUTATIONS, min_size=1, max_size=6))
def test_mutated_images(original: int, mutations: list[Mutation], tmp_path: Path) -> None:
    data = corpus()[original % len(corpus())]
    for mutate in mutations:
        data = mutate(data)
    check(data, tmp_path)


@cache
def jpegs() -> tuple[bytes, ...]:
    """JPEGs that are decoded without Pillow."""
    ways = product((0, 1, 2), (False, True))
    return (
        *(saved("JPEG", subsampling=way, progressive=progressive) for way, progressive in ways),
        *(saved("JPEG", keep_rgb=True), saved("JPEG", quality=20)),
    )


@examples(quick=100, long=12_000)
@given(original=st.integers(0, 99), mutations=st.lists(MUTATIONS, min_size=1, max_size=3))
def test_mutated_jpegs_have_pillows_pixels(original: int, mutations: list[Mutation]) -> None:
    data = jpegs()[original % len(jpegs())]
    for mutate in mutations:
        data = mutate(data)
    bare, _ = split(data)
    pixels = jpeg.decode_plain(bare, MAX_PIXELS)
    count("left to Pillow" if pixels is None else "decoded without Pillow")
    if pixels is not None:
        with Image.open(io.BytesIO(bare)) as image:
            np.testing.assert_array_equal(pixels, np.asarray(image))


@examples(quick=30, long=1_000)
@given(
    head=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0"]),
    data=st.binary(max_size=400),
)
def test_random_bytes(head: bytes, data: bytes, tmp_path: Path) -> None:
    check(head + data, tmp_path)


@pytest.mark.skipif(not LONG, reason="make fuzz cuts every image everywhere; seconds a format")
def test_every_cut(tmp_path: Path) -> None:
    for data in corpus():
        for end in range(0, len(data), 7):
            check(data[:end], tmp_path)
