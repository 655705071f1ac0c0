"""Only pixels decide about pixels: whatever else is in a file costs it neither score nor code."""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from shardsift.errors import ImageError
from shardsift.images.decode import as_rgb, decode_rgb
from shardsift.records import RgbImage
from tests.conftest import SHARED
from tests.samples import encoded, picture, png_chunk, saved, tiff_bytes

FAULTS = SHARED / "faults"
ORIENTATION = 0x0112


def decoded(data: bytes) -> RgbImage:
    return decode_rgb(data, 10**8)


def code_of(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decoded(data)
    return caught.value.code


def fault(name: str) -> bytes:
    if not FAULTS.is_dir():
        pytest.skip("shared/faults is not on this machine")
    return (FAULTS / name).read_bytes()


def with_chunk(added: bytes, png: bytes | None = None) -> bytes:
    """A PNG with something between its header and its pixels."""
    png = encoded("PNG") if png is None else png
    return png[:33] + added + png[33:]


def png_chunks(data: bytes) -> Iterable[tuple[bytes, bytes]]:
    at = 8
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 8], data[at : at + 12 + size]
        at += 12 + size


def segment(marker: int, content: bytes) -> bytes:
    """Make a segment of a JPEG."""
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


@pytest.mark.parametrize(
    "name",
    [
        *("exif_bad", "rawprofile_bad", "phys_short", "gama_short", "srgb_empty"),
        *("iccp_method1", "iccp_1.2MB", "ztxt_2MB"),
    ],
)
def test_a_png_with_a_bad_aside_has_the_pixels_of_one_without(name: str) -> None:
    data = fault(f"{name}.png")
    kept = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
    bare = data[:8] + b"".join(whole for kind, whole in png_chunks(data) if kind in kept)
    assert len(bare) < len(data)
    np.testing.assert_array_equal(decoded(data), np.asarray(Image.open(io.BytesIO(bare))))


@pytest.mark.parametrize(
    "kind",
    b"cHRM cICP gAMA iCCP mDCV cLLI sBIT sRGB bKGD hIST tRNS eXIf pHYs sPLT tIME iTXt tEXt zTXt "
    b"acTL fcTL fdAT vpAg caBX".split(),
    ids=bytes.decode,
)
@pytest.mark.parametrize("content", [b"", b"\0", b"\xff" * 7, b"x" * 40], ids=len)
def test_no_ancillary_chunk_costs_a_png_its_pixels(kind: bytes, content: bytes) -> None:
    for added in (png_chunk(kind, content), png_chunk(kind, content)[:-1] + b"?"):
        np.testing.assert_array_equal(decoded(with_chunk(added)), np.asarray(picture()))


def test_a_chunk_that_no_one_knows_but_has_to_is_unsupported() -> None:
    assert code_of(with_chunk(png_chunk(b"CgBI", b"\x50\0\x20\x02"))) == "unsupported_format"


@pytest.mark.parametrize("marker", [*range(0xE0, 0xF0), 0xFE], ids=hex)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"JFIF\0",
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"MPF\0II*\0",
        b"Adobe",
        b"FPXR",
        b"ICC_PROFILE\0\x01",
        b"Photoshop 3.0\x008BIM\x03\xed\0\0\0\0",
        b"x" * 9000,
    ],
    ids=lambda content: content[:8].decode("latin-1"),
)
def test_no_segment_aside_costs_a_jpeg_its_pixels(marker: int, content: bytes) -> None:
    plain = encoded("JPEG")
    np.testing.assert_array_equal(
        decoded(plain[:2] + segment(marker, content) + plain[2:]), decoded(plain)
    )


def test_a_transparent_colour_of_a_gif_lies_over_white() -> None:
    image = Image.new("P", (9, 9), 1)
    image.putpalette([9, 9, 9, 0, 0, 255])
    data = saved(image, "GIF", transparency=1, comment=b"seen by nobody")
    assert (decoded(data) == 255).all()


@pytest.mark.parametrize("behind", [b"", b"trailer" * 50], ids=["", "trailer"])
def test_what_surrounds_damaged_pixels_does_not_decide_the_code(behind: bytes) -> None:
    png = encoded("PNG")
    middle = len(png) // 2
    damaged = png[:middle] + bytes(64) + png[middle + 64 :] + behind
    assert code_of(damaged) == "decode_error"
    assert code_of(with_chunk(png_chunk(b"iCCP", b"truncated"), damaged)) == "decode_error"
    assert code_of(with_chunk(png_chunk(b"eXIf", b"IEND" * 9), png)[: middle + 48]) == "truncated"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_a_picture_is_turned_as_pillow_turns_it(kind: str, turn: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = turn
    data = saved(picture(40, 20), kind, exif=exif)
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    np.testing.assert_array_equal(decoded(data), np.asarray(turned))
    loaded = Image.open(io.BytesIO(data))
    loaded.load()
    np.testing.assert_array_equal(as_rgb(loaded, "image"), np.asarray(turned))


def odd_exif(turn: int, order: str = "<") -> bytes:
    """An orientation among tags whose kinds and places make no sense."""
    entries = [
        (0x010F, 5, 1, 0xFFFFFFF0),  # a maker that is a fraction, beyond the end
        (0x0112, 3, 1, turn if order == "<" else turn << 16),
        (0x011A, 2, 4, 0x41424344),  # a resolution in letters
        (0x0128, 3, 1, 3 if order == "<" else 3 << 16),
        (0x8769, 4, 1, 0x7FFFFFFF),
        (0xEA1C, 99, 0xFFFFFFFF, 8),
    ]
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    body = b"".join(struct.pack(order + "HHII", *entry) for entry in entries)
    return head + struct.pack(order + "H", len(entries)) + body + bytes(4)


@pytest.mark.parametrize("order", ["<", ">"])
def test_an_orientation_is_found_among_tags_that_make_no_sense(order: str) -> None:
    block = odd_exif(6, order)
    jpeg, png = encoded("JPEG", 40, 20), encoded("PNG", 40, 20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for data in (
            jpeg[:2] + segment(0xE1, b"Exif\0\0" + block) + jpeg[2:],
            with_chunk(png_chunk(b"eXIf", block), png),
            saved(picture(40, 20), "WEBP", exif=block, lossless=True),
        ):
            assert decoded(data).shape == (40, 20, 3)


def test_an_avif_is_turned_by_its_own_boxes_whatever_its_exif_says() -> None:
    exif = Image.Exif()
    exif[ORIENTATION], exif[0x010F] = 6, "a maker"
    data = saved(picture(40, 20), "AVIF", exif=exif)
    turned = decoded(data)
    assert turned.shape == (40, 20, 3)
    odd = data.replace(b"a maker", b"\xff" * 7).replace(exif.tobytes()[14:26], b"\xff" * 12)
    assert odd != data
    np.testing.assert_array_equal(decoded(odd), turned)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_with_a_tag_beyond_its_end_is_truncated(order: str) -> None:
    """Tags behind it, which Pillow doesn't read then, may decide about pixels."""
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    turned = tiff_bytes(pixels.tobytes(), 3, 2, [(ORIENTATION, 3, 6)], order)
    np.testing.assert_array_equal(decoded(turned)[..., 0], np.rot90(pixels, -1))
    odd = tiff_bytes(pixels.tobytes(), 3, 2, [(282, 5, 0x41424344)], order)
    assert code_of(odd) == "truncated"


def test_an_orientation_in_xmp_alone_is_not_applied() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    for data in (
        saved(picture(40, 20), "JPEG", xmp=xmp),
        saved(picture(40, 20), "WEBP", xmp=xmp),
        with_chunk(
            png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp), encoded("PNG", 40, 20)
        ),
    ):
        assert b"Orientation" in data
        assert decoded(data).shape == (20, 40, 3)
        assert as_rgb(Image.open(io.BytesIO(data)), "image").shape == (20, 40, 3)


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt"])
def test_the_exif_that_imagemagick_wrote_into_pngs_is_applied(kind: bytes) -> None:
    block = b"Exif\0\0" + odd_exif(6)
    text = f"\nexif\n{len(block):8}\n{block.hex()}\n".encode()
    content = b"\0" + zlib.compress(text) if kind == b"zTXt" else text
    added = png_chunk(kind, b"Raw profile type exif\0" + content)
    assert decoded(with_chunk(added, encoded("PNG", 40, 20))).shape == (40, 20, 3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: encoded("PNG")[:20] + bytes(60),
        lambda: encoded("TIFF")[:8] + bytes(60),
        lambda: b"RIFF\xff\0\0\0WEBPVP8 " + bytes(250),
        lambda: encoded("GIF")[:6] + bytes(9) + b";",
        lambda: b"\xff\xd8\xff\xd8" + bytes(50) + b"\xff\xd9",
    ],
    ids=["PNG", "TIFF", "WebP", "GIF", "JPEG"],
)
def test_equal_files_have_equal_messages(make: Callable[[], bytes]) -> None:
    """An address of memory in one would make equal runs differ."""
    messages: list[str] = []
    kept: list[bytearray] = []
    for _ in range(3):
        kept.append(bytearray(10_000))
        with pytest.raises(ImageError) as caught:
            decoded(make())
        messages.append(str(caught.value))
    assert len(set(messages)) == 1
    assert not re.search(r"0x[0-9a-f]{6}", messages[0])


def test_a_file_that_is_opened_and_not_loaded_is_read_as_a_file(tmp_path: Path) -> None:
    data = with_chunk(png_chunk(b"tRNS", b"\0\x03"), grey_png(4, [[0, 3, 15]]))
    (tmp_path / "a.png").write_bytes(data)
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(as_rgb(image, "image"), decoded(data))
        assert image.getpixel((2, 0)) == 255, "it can still be loaded"


def grey_png(bits: int, rows: list[list[int]], kind: int = 0) -> bytes:
    """A PNG of these values, up to 16 bits; `kind` 2 takes three of them for a pixel."""
    channels = 3 if kind == 2 else 1
    header = struct.pack(">IIBBBBB", len(rows[0]) // channels, len(rows), bits, kind, 0, 0, 0)
    lines = b""
    for row in rows:
        packed = "".join(f"{value:0{bits}b}" for value in row)
        packed += "0" * (-len(packed) % 8)
        lines += b"\0" + int(packed, 2).to_bytes(len(packed) // 8, "big")
    png = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)
    return png + png_chunk(b"IDAT", zlib.compress(lines)) + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_of_a_transparent_grey_that_value_alone_lies_over_white(bits: int) -> None:
    top = 2**bits - 1
    values = sorted({0, 1, top // 3, top // 2, top, min(top, 0x1234), min(top, 0x1235)})
    for clear in values:
        png = with_chunk(png_chunk(b"tRNS", struct.pack(">H", clear)), grey_png(bits, [values]))
        eight = [value >> 8 if bits == 16 else value * 255 // top for value in values]
        expected = [255 if v == clear else e for v, e in zip(values, eight, strict=True)]
        assert decoded(png)[0, :, 0].tolist() == expected


@pytest.mark.parametrize(
    ("bits", "clear"), [(8, (8, 8, 8)), (8, (0, 0, 0)), (16, (0x8000,) * 3), (16, (0, 0, 0x12))]
)
def test_of_a_transparent_colour_that_one_alone_lies_over_white(
    bits: int, clear: tuple[int, int, int]
) -> None:
    others = [(clear[0], clear[1], clear[2] ^ 1), (1, 0, 0), (0, 0, 0x13), (9, 8, 8)]
    row = [value for colour in (clear, *others) for value in colour]
    png = with_chunk(png_chunk(b"tRNS", struct.pack(">3H", *clear)), grey_png(bits, [row], kind=2))
    shift = bits - 8
    expected = [[255] * 3] + [[value >> shift for value in colour] for colour in others]
    assert decoded(png)[0].tolist() == expected


def test_a_transparent_colour_that_pillow_has_cut_is_refused() -> None:
    """An image that was loaded has lost the low bytes of its pixels."""
    row = [0x8000, 0x8000, 0x8000, 0, 0, 0]
    clear = png_chunk(b"tRNS", struct.pack(">3H", 0x8000, 0x8000, 0x8000))
    image = Image.open(io.BytesIO(with_chunk(clear, grey_png(16, [row], kind=2))))
    assert as_rgb(image, "image")[0].tolist() == [[255] * 3, [0] * 3]
    image.load()
    with pytest.raises(ImageError, match="image: its transparent colour has bits that") as caught:
        as_rgb(image, "image")
    assert caught.value.code == "unsupported_format"


def test_bits_above_the_depth_of_a_transparent_grey_do_not_count() -> None:
    png = with_chunk(png_chunk(b"tRNS", b"\xff\xf3"), grey_png(4, [[3, 4]]))
    assert decoded(png)[0, :, 0].tolist() == [255, 68]


def test_a_bmp_whose_alpha_is_zero_everywhere_is_opaque() -> None:
    image = picture(20, 10).convert("RGBA")
    clear, half = image.copy(), image.copy()
    clear.putalpha(0)
    half.putalpha(Image.linear_gradient("L").resize(image.size))
    as_bmp = bmp32(clear)
    assert Image.open(io.BytesIO(as_bmp)).mode == "RGBA"
    np.testing.assert_array_equal(decoded(as_bmp), np.asarray(picture(20, 10)))
    np.testing.assert_array_equal(decoded(bmp32(half)), decoded(saved(half, "PNG")))
    assert (decoded(saved(clear, "PNG")) == 255).all(), "of other formats nothing is seen"


def bmp32(image: Image.Image) -> bytes:
    """A BMP whose header says that it has alpha; Pillow writes none."""
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    pixels = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).tobytes("raw", "BGRA")
    info = struct.pack("<IiiHHIIiiII", 108, *image.size, 1, 32, 3, len(pixels), 0, 0, 0, 0)
    head = info + masks + bytes(52)
    return b"BM" + struct.pack("<IHHI", 14 + 108 + len(pixels), 0, 0, 122) + head + pixels
