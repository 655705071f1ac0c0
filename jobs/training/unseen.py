"""Graded distortions that training never sees, to measure generalisation.

Same form as `distortions.DISTORTIONS`.
"""

from __future__ import annotations

import io
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft, ndimage

from jobs.training.distortions import Distortion, resize, strength, to_uint8
from shardsift.records import RgbImage

_ZOOMS: Final = 12


def jpeg2000(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Compress as JPEG 2000 at 25 to 300 times fewer bytes."""
    rate = strength((25.0, 50.0, 90.0, 160.0, 300.0), level)
    buffer = io.BytesIO()
    Image.fromarray(image).save(
        buffer, "JPEG2000", quality_mode="rates", quality_layers=[rate], irreversible=True
    )
    return np.asarray(Image.open(buffer).convert("RGB"))


def chromatic_aberration(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Slide red and blue apart, 0.7 to 7 px each way."""
    shift = strength((0.7, 1.4, 2.5, 4.2, 7.0), level)
    angle = rng.uniform(0.0, 2.0 * np.pi)
    offset = np.array([np.sin(angle), np.cos(angle)]) * shift
    values = image.astype(np.float32)
    moved = [
        cast(Any, ndimage).shift(values[:, :, channel], sign * offset, order=1, mode="nearest")
        for channel, sign in ((0, 1.0), (1, 0.0), (2, -1.0))
    ]
    return to_uint8(np.stack(moved, axis=-1))


def zoom_blur(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Blur of a lens zoomed during exposure, by 2 to 18 percent."""
    height, width = image.shape[:2]
    furthest = strength((0.02, 0.04, 0.07, 0.115, 0.18), level)
    total = np.zeros(image.shape, np.float32)
    for zoom in np.linspace(1.0, 1.0 + furthest, _ZOOMS):
        size = max(width, round(width * zoom)), max(height, round(height * zoom))
        large = resize(image, *size, Image.Resampling.BILINEAR)
        top, left = (size[1] - height) // 2, (size[0] - width) // 2
        total += large[top : top + height, left : left + width]
    return to_uint8(total / _ZOOMS)


def haze(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Add fog of uneven depth, which lets 80 to 15 percent of the light through."""
    through = strength((0.8, 0.63, 0.46, 0.3, 0.15), level)
    shape = image.shape[:2]
    depth = 1.0 + 0.35 * np.clip(_smooth_field(shape, max(shape) / 2.5, rng), -1.5, 1.5)
    kept = np.float32(through) ** depth[:, :, None]
    return to_uint8(kept * image.astype(np.float32) + (1.0 - kept) * 215.0)


def stripes(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Make every row a little too bright or too dark, as of a bad sensor."""
    sigma = strength((4.0, 8.0, 14.0, 23.0, 36.0), level)
    rows = rng.standard_normal((image.shape[0], 1, 1), dtype=np.float32)
    return to_uint8(image.astype(np.float32) + sigma * rows)


def interlacing(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Take every other row from a moment later: 1 to 14 px to the side."""
    shift = strength((1.0, 2.0, 4.0, 8.0, 14.0), level)
    result = image.astype(np.float32)
    result[1::2] = cast(Any, ndimage).shift(
        result[1::2], (0.0, shift, 0.0), order=1, mode="nearest"
    )
    return to_uint8(result)


def ringing(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Cut off all frequencies above 0.3 to 0.05 cycles a pixel, so that edges ring."""
    cut = strength((0.3, 0.22, 0.15, 0.09, 0.05), level)
    height, width = image.shape[:2]
    mirrored = np.pad(image.astype(np.float32), ((0, height), (0, width), (0, 0)), "symmetric")
    spectrum = cast(Any, fft.rfft2(mirrored, axes=(0, 1)))
    frequency = np.hypot(np.fft.fftfreq(2 * height)[:, None], np.fft.rfftfreq(2 * width))
    spectrum[frequency > cut] = 0.0
    whole = cast(Any, fft.irfft2(spectrum, s=mirrored.shape[:2], axes=(0, 1)))
    return to_uint8(whole[:height, :width])


def lost_blocks(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Lose blocks of 16 px, which show what stands to their left: 2 to 45 percent."""
    share = strength((0.02, 0.06, 0.13, 0.25, 0.45), level)
    size = 16
    result = image.copy()
    rows, columns = image.shape[0] // size, image.shape[1] // size
    for row, column in np.argwhere(rng.random((rows, columns)) < share):
        top, left = row * size, column * size
        source = left - size if column else left + size
        result[top : top + size, left : left + size] = image[
            top : top + size, source : source + size
        ]
    return result


def dithering(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Dither to a palette of 40 down to 3 colours, by error diffusion."""
    colours = round(strength((40.0, 20.0, 10.0, 5.0, 3.0), level))
    picture = Image.fromarray(image)
    palette = picture.quantize(colours, Image.Quantize.MEDIANCUT)
    mixed = picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    return np.asarray(mixed.convert("RGB"))


def _smooth_field(
    shape: tuple[int, int], cell: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Make a field of about zero mean and unit deviation that varies over `cell` pixels."""
    height, width = shape
    rows, columns = max(3, round(height / cell) + 2), max(3, round(width / cell) + 2)
    rough = Image.fromarray(rng.standard_normal((rows, columns), dtype=np.float32))
    return np.asarray(rough.resize((width, height), Image.Resampling.BICUBIC))


UNSEEN: Final[dict[str, Distortion]] = {
    "jpeg2000": jpeg2000,
    "chromatic_aberration": chromatic_aberration,
    "zoom_blur": zoom_blur,
    "haze": haze,
    "stripes": stripes,
    "interlacing": interlacing,
    "ringing": ringing,
    "lost_blocks": lost_blocks,
    "dithering": dithering,
}
