"""Image bytes to checked RGB.

Formats: JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, recognised by content and not by name. Of an
animation the first frame counts. What becomes RGB, and how:

    EXIF orientation     applied, if it is 1 to 8; that of XMP isn't, as in browsers and OpenCV
    grey, palette, 1 bit widened
    16 bits a channel    the high byte, as libpng does
    alpha, transparency  laid over white, as img2dataset does; a BMP whose alpha is 0 everywhere
                         counts as opaque, as in browsers
    CMYK, YCbCr          Pillow's conversion
    colour profiles      not applied: the published code and loaders that train don't either
    32-bit, float, Lab   refused: their white is not defined (`unsupported_format`)

No other data in a file decides about its pixels or its error code. Too large images are refused
after their header is read. Layouts that Pillow reads wrongly, or not at all, are refused, too.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from os import PathLike, fspath
from typing import Any, Final, TypedDict

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, UnidentifiedImageError, features

from shardsift.errors import ErrorCode, ImageError, InputError
from shardsift.images import formats, jpeg
from shardsift.images.jpeg import has_too_many_scans, lacks_pixels
from shardsift.images.png import parse_raw_profile
from shardsift.records import RgbImage
from shardsift.redaction import reason
from shardsift.storage.files import read_bytes

Encoded = bytes | bytearray | memoryview
"""An image file in memory."""


class UndecodedImage(TypedDict):
    """An image of a Hugging Face data set with `decode=False`; `path` counts without `bytes`."""

    bytes: bytes | None
    path: str | None


AnyImage = RgbImage | Image.Image | str | PathLike[str] | Encoded | UndecodedImage
"""An image: a path or URL, the bytes of a file, a PIL image, RGB as uint8 of shape
(height, width, 3), or a dict with `bytes` and `path`."""

Mask = npt.NDArray[np.bool_]
"""Some pixels of an image, shape (height, width)."""

_HAS_AVIF = bool(features.check("avif"))
"""Pillow's wheels have it since 11.3; a Pillow of a distribution may be built without."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", *(["AVIF"] if _HAS_AVIF else []))
"""Names of the formats in Pillow."""

Image.init()  # registers all formats now; Pillow's lazy registration isn't thread-safe

_STRIP_ROWS = 256

_PLAIN_MODES = frozenset({"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr"})
_ALPHA_MODES = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})

_TURNS: Final[Mapping[int, Callable[[Any], Any]]] = {
    2: lambda pixels_HW: pixels_HW[:, ::-1],
    3: lambda pixels_HW: pixels_HW[::-1, ::-1],
    4: lambda pixels_HW: pixels_HW[::-1],
    5: lambda pixels_HW: pixels_HW.T,
    6: lambda pixels_HW: pixels_HW.T[:, ::-1],
    7: lambda pixels_HW: pixels_HW.T[::-1, ::-1],
    8: lambda pixels_HW: pixels_HW.T[::-1],
}
"""Turn that makes pixels upright, by EXIF orientation."""

_VALUE_BITS: Final = {
    **{"1": 1, "L;2": 3, "L;4": 15, "L": 255, "RGB": 255},
    **{"I;16B": 0xFFFF, "I;16": 0xFFFF, "RGB;16B": 0xFFFF},
}
"""The bits of a transparent colour that count, by the layout of a file or the mode of an image."""

_SCALES: Final = {"1": 255, "L;2": 85, "L;4": 17}
"""Factor by which Pillow multiplies the values of a file, by mode."""

_NO_MEMORY = re.compile("out of memory|insufficient memory|cannot allocate", re.IGNORECASE)
"""Messages about memory in other errors of Pillow and its libraries."""

_ADDRESS = re.compile(r"( object)? at 0x[0-9a-f]+")


def decode_rgb(data: bytes, max_pixels: int, *, upright: bool = True) -> RgbImage:
    """Decode an image to uint8 RGB, shape (height, width, 3).

    If `upright` is False, the EXIF orientation is not applied.

    Raises:
        ImageError: with code `unsupported_format`, `decode_error`, `truncated`, `too_large` or
            `too_slow`.
        MemoryError: if memory is short, for which the image isn't to blame.
    """
    if not data:
        raise ImageError(ErrorCode.TRUNCATED, "the file is empty")
    try:
        pixels_HW3, exif = _decode(data, max_pixels)
        return _upright(pixels_HW3, exif) if upright else pixels_HW3
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(ErrorCode.TOO_LARGE, str(error)) from error
    except Exception as error:  # Pillow's decoders raise many types
        if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
            raise MemoryError("no memory is left to decode an image") from error
        raise ImageError(_code_of(error, data), _told(error)) from error


def read_rgb(url: str, max_pixels: int) -> RgbImage:
    """Read and decode an image file, at any fsspec URL, as `decode_rgb` does.

    Raises:
        InputError: if it can't be read.
        ImageError: if it can't be decoded; it names the file.
    """
    try:
        data = read_bytes(url)
    except (OSError, ValueError, ImportError) as error:
        raise InputError(f"{url}: can't be read: {reason(error)}") from error
    return _decode_named(data, url, max_pixels)


def _decode_named(data: bytes, name: str, max_pixels: int) -> RgbImage:
    try:
        return decode_rgb(data, max_pixels)
    except ImageError as error:
        raise ImageError(error.code, f"{name}: {error}") from error


def as_rgb(image: AnyImage | None, name: str, max_pixels: int = sys.maxsize) -> RgbImage:
    """Turn an image into RGB, as `decode_rgb` does: uint8, shape (height, width, 3).

    A PIL image that was opened and not yet loaded is decoded here from its file. Of one that was
    loaded, Pillow's pixels are used. Files of more than `max_pixels` pixels are refused if they are
    given as a path or as bytes.

    Raises:
        ImageError: for a file that is broken, for a PIL image that has no RGB, and for None, with
            code `missing_image`.
        InputError: for a path that can't be read, and for a value that isn't an image; messages
            call an image without a path `name`.
    """
    if isinstance(image, Mapping) and ("bytes" in image or "path" in image):
        file, path = image.get("bytes"), image.get("path")
        image, name = (path, name) if file is None else (file, path or name)
    if image is None:
        raise ImageError(ErrorCode.MISSING_IMAGE, f"{name}: None is no image")
    if isinstance(image, str | PathLike):
        return read_rgb(fspath(image), max_pixels)
    if isinstance(image, Encoded):
        return _decode_named(bytes(image), name, max_pixels)
    if isinstance(image, Image.Image):
        try:
            if (data := _unloaded_file(image)) is not None:
                return decode_rgb(data, sys.maxsize)
            return _upright(_to_rgb(*_loaded(image)), _exif_of(image))
        except ImageError as error:
            raise ImageError(error.code, f"{name}: {error}") from error
        except Exception as error:  # Pillow's decoders raise many types
            raise ImageError(_code_of(error), f"{name}: {_told(error)}") from error
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        is_array = array.dtype != np.object_
        what = f"{array.dtype} of shape {array.shape}" if is_array else type(image).__name__
        raise InputError(
            f"{name}: {what} is no RGB image; pass paths, PIL images, bytes of "
            "image files, or uint8 arrays of shape (height, width, 3)"
        )
    return array


def _decode(data: bytes, max_pixels: int) -> tuple[RgbImage, bytes]:
    """Decode the pixels of a file, as they lie; also return its EXIF block."""
    bare, exif = formats.split(data)
    if (pixels_HW3 := jpeg.decode_plain(bare, max_pixels)) is not None:
        return pixels_HW3, exif
    image, clear_HW, own_exif = _load(bare, max_pixels)
    return _to_rgb(image, clear_HW), exif or own_exif


def _load(bare: bytes, max_pixels: int) -> tuple[Image.Image, Mask | None, bytes]:
    """Decode a file by Pillow, as `_loaded`; also return the EXIF block."""
    formats.check(bare)
    with _open(bare) as image:
        if image.width * image.height > max_pixels:
            raise ImageError(
                ErrorCode.TOO_LARGE,
                f"{image.width}x{image.height} is over the limit of {max_pixels} pixels",
            )
        if image.format == "JPEG" and has_too_many_scans(bare, image.width * image.height):
            raise ImageError(ErrorCode.TOO_SLOW, "so many scans of so many pixels take minutes")
        whole, clear_HW = _loaded(image, bare)
        if image.format == "JPEG" and lacks_pixels(bare, image):
            raise ImageError(ErrorCode.TRUNCATED, "the last pixels are missing")
        return whole, clear_HW, _exif_of(image)


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        if formats.is_known(data) and (_HAS_AVIF or not formats.is_avif(data)):
            if formats.ends_early(data):
                raise ImageError(ErrorCode.TRUNCATED, "the header can't be read") from error
            if data.startswith((b"II", b"MM")):
                raise _unsupported("a TIFF of a layout that Pillow doesn't read") from error
            raise ImageError(ErrorCode.DECODE_ERROR, "the header can't be read") from error
        known = "JPEG, PNG, WebP, GIF, BMP, TIFF" + (" or AVIF" if _HAS_AVIF else "")
        raise _unsupported(f"not a {known}; begins with {data[:12]!r}") from None


def _unloaded_file(image: Image.Image) -> bytes | None:
    """Return the file of an image that Pillow has opened and not decoded; None for all others."""
    if not isinstance(image, ImageFile.ImageFile) or not image.tile or image.fp is None:
        return None
    is_as_opened = image.tell() == 0 and not image.decoderconfig
    if not is_as_opened or image.format not in (*FORMATS, "MPO") or not image.fp.seekable():
        return None
    place = image.fp.tell()
    image.fp.seek(0)
    data = image.fp.read()
    image.fp.seek(place)
    return data


def _loaded(image: Image.Image, data: bytes = b"") -> tuple[Image.Image, Mask | None]:
    """Load an image; also return the mask of its transparent colour, if it has one.

    `data` is its file, if it wasn't loaded before.
    """
    args = image.tile[0].args if isinstance(image, ImageFile.ImageFile) and image.tile else None
    layout = args if image.format == "PNG" and isinstance(args, str) else image.mode
    colour = image.info.get("transparency") if layout in _VALUE_BITS else None
    image.load()
    if image.format == "BMP" and image.mode == "RGBA" and not image.getchannel("A").getbbox():
        return image.convert("RGB"), None
    if not isinstance(colour, int | tuple):
        return image, None
    if not data and np.max(colour) > _VALUE_BITS[layout]:
        raise _unsupported("its transparent colour has bits that were dropped when it was loaded")
    wanted = np.array(colour) & _VALUE_BITS[layout]
    if layout == "RGB;16B":
        clear_HW = _which_have(image, wanted >> 8)
        clear_HW &= _which_have(_low_bytes(data), wanted & 0xFF)
    else:
        clear_HW = _which_have(image, wanted * _SCALES.get(layout, 1))
    return image, clear_HW


def _low_bytes(data: bytes) -> Image.Image:
    """Decode the bytes of a 16-bit RGB PNG that Pillow drops: it takes them for the high ones."""
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        image.tile = [tile._replace(args="RGB;16L") for tile in image.tile]
        image.load()
        return image


def _which_have(image: Image.Image, values: Any) -> Mask:
    """Return which pixels have these values, one a channel."""
    which_HW = np.empty((image.height, image.width), np.bool_)
    for top, bottom, strip in _strips(image):
        same = np.asarray(strip.convert("L") if strip.mode == "1" else strip) == values
        which_HW[top:bottom] = same.all(axis=2) if same.ndim == 3 else same
    return which_HW


def _strips(image: Image.Image) -> Iterator[tuple[int, int, Image.Image]]:
    """Yield top, bottom and pixels of strips; a copy of a large image would fill the memory."""
    for top in range(0, image.height, _STRIP_ROWS):
        bottom = min(top + _STRIP_ROWS, image.height)
        yield top, bottom, image.crop((0, top, image.width, bottom))


def _exif_of(image: Image.Image) -> bytes:
    """Return the EXIF block that Pillow found."""
    block = image.info.get("exif")
    if isinstance(block, bytes):
        return block
    return parse_raw_profile(str(image.info.get("Raw profile type exif", "")))


def _upright(pixels_HW3: RgbImage, exif: bytes) -> RgbImage:
    turn = _TURNS.get(formats.orientation(exif))
    if turn is None:
        return pixels_HW3
    # turn whole pixels, not channels
    turned_HW = np.ascontiguousarray(turn(pixels_HW3.view("V3")[..., 0]))
    return turned_HW.view(np.uint8).reshape(*turned_HW.shape, 3)


def _to_rgb(image: Image.Image, clear_HW: Mask | None) -> RgbImage:
    """Convert to RGB; clear pixels become white."""
    tags: Mapping[int, object] = getattr(image, "tag_v2", {})
    from_white = tags.get(formats.PHOTOMETRIC) == formats.WHITE_IS_ZERO
    pixels_HW3 = np.empty((image.height, image.width, 3), np.uint8)
    for top, bottom, strip in _strips(image):
        pixels_HW3[top:bottom] = _convert(strip, from_white)
        if clear_HW is not None:
            pixels_HW3[top:bottom][clear_HW[top:bottom]] = 255
    return pixels_HW3


def _convert(image: Image.Image, from_white: bool) -> RgbImage:
    if image.mode.startswith("I;16"):  # in a TIFF, 0 may be white
        high_HW = (np.asarray(image) >> 8).astype(np.uint8)
        return np.stack([~high_HW if from_white else high_HW] * 3, axis=2)
    if image.mode in _ALPHA_MODES or (image.mode == "P" and "transparency" in image.info):
        # Pillow converts premultiplied greys only to LA.
        colours = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        white = Image.new("RGBA", colours.size, "white")
        return np.asarray(Image.alpha_composite(white, colours).convert("RGB"))
    if image.mode in _PLAIN_MODES:
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    raise _unsupported(f"pixels of mode {image.mode!r} have no white")


def _unsupported(problem: str) -> ImageError:
    return ImageError(ErrorCode.UNSUPPORTED_FORMAT, problem)


def _code_of(error: Exception, data: bytes = b"") -> ErrorCode:
    """Return `truncated` or `decode_error`: Pillow raises the same OSError for both."""
    text = str(error).lower()
    if isinstance(error, EOFError) or "truncated" in text or "not enough image data" in text:
        return ErrorCode.TRUNCATED
    if formats.ends_early(data):
        return ErrorCode.TRUNCATED
    return ErrorCode.UNSUPPORTED_FORMAT if "unsupported" in text else ErrorCode.DECODE_ERROR


def _told(error: Exception) -> str:
    """Put a third party's error into words that are the same for equal images."""
    return f"{type(error).__name__}: {_ADDRESS.sub('', str(error))}"
