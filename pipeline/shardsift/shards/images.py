"""Image bytes to checked RGB.

Formats: JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, told by their content and not by their name. Of an
animation the first frame counts. What becomes RGB, and how:

    EXIF orientation     applied
    grey, palette, 1 bit widened
    16-bit grey          the high byte, as libpng does for 16-bit colour
    alpha, transparency  laid over white, as img2dataset does
    CMYK, YCbCr          Pillow's conversion
    colour profiles      not applied: the published code and loaders that train don't either
    32-bit, float, Lab   refused: their white is not defined (`unsupported_format`)

What is too large is refused by its header, before any pixel is decoded.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, features

from shardsift.errors import ErrorCode, ImageError, InputError
from shardsift.records import RgbImage
from shardsift.shards.truncation import ends_early, is_avif, lacks_pixels

AnyImage = RgbImage | Image.Image
"""What can be scored in memory: a PIL image, or RGB as uint8, shape (height, width, 3)."""

_HAS_AVIF = bool(features.check("avif"))
"""Pillow's wheels have it since 11.3; a Pillow of a distribution may be built without."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", *(["AVIF"] if _HAS_AVIF else []))
"""As Pillow names them; its JPEG includes MPO, which many phones write."""

Image.init()  # registers all formats; Pillow's way of doing so when first needed isn't thread-safe

_STRIP_ROWS = 256

_PLAIN_MODES = frozenset({"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr"})
_ALPHA_MODES = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
_SIGNATURES = (
    *(b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a"),
    *(b"BM", b"II*\0", b"MM\0*"),
)


def decode_rgb(data: bytes, max_pixels: int) -> RgbImage:
    """Decode an image to uint8 RGB, shape (height, width, 3).

    Raises:
        ImageError: with code `unsupported_format`, `decode_error`, `truncated` or `too_large`.
    """
    if not data:
        raise ImageError(ErrorCode.TRUNCATED, "the file is empty")
    try:
        with _open(data) as image:
            if image.width * image.height > max_pixels:
                raise ImageError(
                    ErrorCode.TOO_LARGE,
                    f"{image.width}x{image.height} is over the limit of {max_pixels} pixels",
                )
            image.load()
            if image.format in ("JPEG", "MPO") and lacks_pixels(data, image):
                raise ImageError(ErrorCode.TRUNCATED, "the last pixels are missing")
            ImageOps.exif_transpose(image, in_place=True)
            return _to_rgb(image)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(ErrorCode.TOO_LARGE, str(error)) from error
    except MemoryError as error:
        raise ImageError(ErrorCode.TOO_LARGE, "does not fit the memory") from error
    except Exception as error:  # Pillow's decoders raise nearly anything
        raise ImageError(_code_of(error, data), f"{type(error).__name__}: {error}") from error


def as_rgb(image: AnyImage, name: str) -> RgbImage:
    """Turn an image in memory into RGB, as `decode_rgb` does: uint8, shape (height, width, 3).

    Raises:
        ImageError: for a PIL image that has no RGB, or whose file turns out to be broken.
        InputError: for an array that is no RGB image; `name` is what the message calls it.
    """
    if isinstance(image, Image.Image):
        try:
            return _to_rgb(ImageOps.exif_transpose(image))
        except ImageError as error:
            raise ImageError(error.code, f"{name}: {error}") from error
        except Exception as error:  # Pillow's decoders raise nearly anything
            raise ImageError(_code_of(error), f"{name}: {error}") from error
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise InputError(
            f"{name}: {array.dtype} of shape {array.shape} is no RGB image; "
            "pass PIL images, or uint8 arrays of shape (height, width, 3)"
        )
    return array


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        if _has_known_signature(data):
            raise
        known = "JPEG, PNG, WebP, GIF, BMP, TIFF" + (" or AVIF" if _HAS_AVIF else "")
        raise ImageError(
            ErrorCode.UNSUPPORTED_FORMAT, f"not a {known}; begins with {data[:12]!r}"
        ) from None


def _to_rgb(image: Image.Image) -> RgbImage:
    """Convert strip by strip: at once, Pillow would hold a large image several times more."""
    pixels_HW3 = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, _STRIP_ROWS):
        bottom = min(top + _STRIP_ROWS, image.height)
        pixels_HW3[top:bottom] = _convert(image.crop((0, top, image.width, bottom)))
    return pixels_HW3


def _convert(image: Image.Image) -> RgbImage:
    if image.mode in _ALPHA_MODES or (image.mode in _PLAIN_MODES and "transparency" in image.info):
        colours = image.convert("RGBA")
        white = Image.new("RGBA", colours.size, "white")
        return np.asarray(Image.alpha_composite(white, colours).convert("RGB"))
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in _PLAIN_MODES:
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    raise ImageError(ErrorCode.UNSUPPORTED_FORMAT, f"pixels of mode {image.mode!r} have no white")


def _has_known_signature(data: bytes) -> bool:
    """Tell whether the first bytes are those of a format that we know: then the rest is damaged."""
    is_webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    return data.startswith(_SIGNATURES) or is_webp or (_HAS_AVIF and is_avif(data))


def _code_of(error: Exception, data: bytes = b"") -> ErrorCode:
    """Tell an image that ends early from one that is damaged: Pillow has one OSError for both."""
    text = str(error).lower()
    if isinstance(error, EOFError) or "truncated" in text or "not enough image data" in text:
        return ErrorCode.TRUNCATED
    return ErrorCode.TRUNCATED if ends_early(data) else ErrorCode.DECODE_ERROR
