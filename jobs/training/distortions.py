"""Graded synthetic distortions of photographs: level 1 is just visible, level 5 ruinous.

Every distortion is a pure function of an RGB image, a level and a random generator. Levels may be
fractional (1.0 to 5.0), so that training sees a continuum; a strength is read off a table of five
values by linear interpolation. An equal generator state gives an equal random pattern at every
level, so a series made with one seed only differs in strength. Strengths are in pixels of a picture
about 400 px wide and graded by eye, so that equal levels are about equally annoying.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy import fft

from shardsift.records import RgbImage

FloatImage = NDArray[np.floating[Any]]
"""An RGB image in float32, nominally 0 to 255; the type checker takes products for float64."""
Distortion = Callable[[RgbImage, float, np.random.Generator], RgbImage]

LEVELS: Final = (1, 2, 3, 4, 5)


def strength(table: Sequence[float], level: float) -> float:
    """Interpolate the strength at a (fractional) level from five values, one for each whole level.

    Raises ValueError when the level is outside 1 to 5.
    """
    if not LEVELS[0] <= level <= LEVELS[-1]:
        raise ValueError(f"level {level} is outside {LEVELS[0]} to {LEVELS[-1]}")
    return float(np.interp(level, LEVELS, table))


def to_uint8(values_HW3: FloatImage) -> RgbImage:
    """Round and clip to 0..255."""
    return np.clip(np.rint(values_HW3), 0, 255).astype(np.uint8)


def resize(image: RgbImage, width: int, height: int, resample: Image.Resampling) -> RgbImage:
    """Resize with Pillow, which filters before it downscales except with NEAREST."""
    return np.asarray(Image.fromarray(image).resize((width, height), resample))


def convolve(image: RgbImage, kernel: NDArray[np.float32]) -> RgbImage:
    """Convolve each channel with a square kernel of odd side, mirrored at the borders."""
    pad = kernel.shape[0] // 2
    padded = np.pad(image.astype(np.float32), ((pad, pad), (pad, pad), (0, 0)), mode="symmetric")
    size = [fft.next_fast_len(side, real=True) for side in padded.shape[:2]]
    image_spectrum = cast(Any, fft.rfft2(padded, size, axes=(0, 1)))
    kernel_spectrum = cast(Any, fft.rfft2(kernel, size))
    spectrum = image_spectrum * kernel_spectrum[:, :, None]
    full = cast(Any, fft.irfft2(spectrum, size, axes=(0, 1)))
    height, width = image.shape[:2]
    return to_uint8(full[2 * pad : 2 * pad + height, 2 * pad : 2 * pad + width].astype(np.float32))


def gaussian(image: RgbImage, sigma: float) -> FloatImage:
    """Blur by a Gaussian with standard deviation `sigma` in pixels, as float32."""
    blurred = Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma))
    return np.asarray(blurred).astype(np.float32)


def recode(image: RgbImage, codec: str, quality: int) -> RgbImage:
    """Encode with a lossy codec of Pillow's ("JPEG", "WEBP") and decode again."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(
        buffer, codec, quality=quality, **({"method": 1} if codec == "WEBP" else {})
    )
    return np.asarray(Image.open(buffer).convert("RGB"))


def luminance(values_HW3: FloatImage) -> FloatImage:
    """Return the BT.601 luma, shape (height, width, 1)."""
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return (values_HW3 @ weights)[:, :, None]


def _disk(radius: float) -> NDArray[np.float32]:
    half = int(np.ceil(radius))
    ys, xs = np.mgrid[-half : half + 1, -half : half + 1]
    kernel = np.clip(radius + 0.5 - np.hypot(xs, ys), 0.0, 1.0).astype(np.float32)
    return kernel / kernel.sum()


def _line(length: float, angle: float) -> NDArray[np.float32]:
    half = int(np.ceil(length / 2))
    kernel = np.zeros((2 * half + 1, 2 * half + 1), dtype=np.float32)
    for offset in np.linspace(-length / 2, length / 2, 8 * half + 1):
        x, y = half + offset * np.cos(angle), half + offset * np.sin(angle)
        x0, y0 = (
            int(min(max(np.floor(x), 0), 2 * half - 1)),
            int(min(max(np.floor(y), 0), 2 * half - 1)),
        )
        fx, fy = x - x0, y - y0
        kernel[y0 : y0 + 2, x0 : x0 + 2] += np.outer([1 - fy, fy], [1 - fx, fx]).astype(np.float32)
    return kernel / kernel.sum()


def defocus_blur(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Blur by a lens out of focus: a disk of 0.8 to 6 px radius."""
    return convolve(image, _disk(strength((0.8, 1.4, 2.3, 3.7, 6.0), level)))


def gaussian_blur(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Blur softly, by 0.6 to 4.5 px standard deviation."""
    return to_uint8(gaussian(image, strength((0.6, 1.0, 1.7, 2.8, 4.5), level)))


def motion_blur(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Blur along a line of 2.5 to 22 px at a random angle."""
    return convolve(
        image, _line(strength((2.5, 4.5, 8.0, 13.0, 22.0), level), rng.uniform(0.0, np.pi))
    )


def sensor_noise(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Add shot and read noise of a sensor, on all channels, independent at each pixel."""
    values = image.astype(np.float32)
    sigma = strength((5.0, 10.0, 17.0, 28.0, 45.0), level)
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    return to_uint8(values + sigma * np.sqrt(0.4 + values / 210.0) * noise)


def chroma_noise(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Add blotches of colour two to three pixels wide, without changing luma."""
    height, width = image.shape[:2]
    sigma = strength((12.0, 21.0, 33.0, 50.0, 75.0), level)
    blotch = int(rng.integers(2, 4))
    rough = rng.standard_normal((height // blotch + 2, width // blotch + 2, 3), dtype=np.float32)
    noise = np.kron(rough, np.ones((blotch, blotch, 1), dtype=np.float32))[:height, :width]
    return to_uint8(image.astype(np.float32) + sigma * (noise - luminance(noise)))


def impulse_noise(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Add salt and pepper: 0.4 to 12 percent of the values turn black or white."""
    share = strength((0.004, 0.01, 0.025, 0.055, 0.12), level)
    drawn = rng.random(image.shape, dtype=np.float32)
    extreme = np.where(rng.random(image.shape, dtype=np.float32) < 0.5, 0, 255)
    return np.where(drawn < share, extreme, image).astype(np.uint8)


def jpeg(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Compress as a JPEG at quality 45 down to 4."""
    return recode(image, "JPEG", round(strength((45, 26, 16, 9, 4), level)))


def webp(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Compress as WebP at quality 40 down to 0, shrunk first at the worst levels."""
    quality = round(strength((40, 20, 8, 2, 0), level))
    factor = strength((1.0, 1.0, 1.1, 1.5, 2.2), level)
    if factor == 1.0:
        return recode(image, "WEBP", quality)
    height, width = image.shape[:2]
    small = resize(
        image, max(8, round(width / factor)), max(8, round(height / factor)), Image.Resampling.BOX
    )
    return resize(recode(small, "WEBP", quality), width, height, Image.Resampling.BILINEAR)


def downscaling(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Drop pixels without a filter and repeat them: aliasing, stairs and blocks, 1.25 to 5 fold."""
    height, width = image.shape[:2]
    factor = strength((1.25, 1.7, 2.4, 3.4, 5.0), level)
    small = resize(
        image,
        max(4, round(width / factor)),
        max(4, round(height / factor)),
        Image.Resampling.NEAREST,
    )
    return resize(small, width, height, Image.Resampling.NEAREST)


def upscaling(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Enlarge a small picture 1.4 to 7 fold with a bilinear, bicubic or Lanczos filter."""
    height, width = image.shape[:2]
    factor = strength((1.4, 1.9, 2.8, 4.3, 7.0), level)
    filters = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
    chosen = filters[int(rng.integers(len(filters)))]
    small = resize(
        image,
        max(4, round(width / factor)),
        max(4, round(height / factor)),
        Image.Resampling.BICUBIC,
    )
    return resize(small, width, height, chosen)


def exposure(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Over- or underexpose by 0.6 to 3.2 stops of linear light, clipped."""
    stops = strength((0.6, 1.1, 1.7, 2.4, 3.2), level) * (1.0 if rng.random() < 0.5 else -1.15)
    linear = (image.astype(np.float32) / 255.0) ** 2.2 * 2.0**stops
    return to_uint8(255.0 * np.clip(linear, 0.0, 1.0) ** np.float32(1 / 2.2))


def low_contrast(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Veil in grey: contrast and saturation fall to 0.72 down to 0.12 about a random grey."""
    keep = strength((0.72, 0.54, 0.38, 0.24, 0.12), level)
    veil = rng.uniform(90.0, 200.0)
    return to_uint8(keep * image.astype(np.float32) + (1.0 - keep) * np.float32(veil))


def saturation(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Make colours too strong, 1.5 to 4.2 fold, or fade them to grey."""
    excess = strength((0.5, 0.9, 1.5, 2.2, 3.2), level)
    loss = strength((0.35, 0.55, 0.72, 0.87, 1.0), level)
    factor = np.float32(1.0 + excess if rng.random() < 0.5 else 1.0 - loss)
    values = image.astype(np.float32)
    grey = luminance(values)
    return to_uint8(grey + factor * (values - grey))


def banding(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Cut each channel to 22 down to 4 tones."""
    step = 255.0 / (strength((22.0, 14.0, 9.0, 6.0, 4.0), level) - 1.0)
    return to_uint8(np.rint(image.astype(np.float32) / step) * step)


def oversharpening(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Sharpen far beyond taste: halos, crisped noise, clipped edges."""
    amount = strength((1.0, 2.0, 3.5, 6.0, 10.0), level)
    values = image.astype(np.float32)
    return to_uint8(values + amount * (values - gaussian(image, rng.uniform(0.9, 1.6))))


def jitter(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Take every pixel from up to 0.6 to 6 px away: frosted glass."""
    height, width = image.shape[:2]
    reach = strength((0.6, 1.1, 2.0, 3.4, 6.0), level)
    rows, columns = np.mgrid[0:height, 0:width]
    shifts = rng.uniform(-1.0, 1.0, (2, height, width))
    rows = np.clip(np.rint(rows + reach * shifts[0]).astype(int), 0, height - 1)
    columns = np.clip(np.rint(columns + reach * shifts[1]).astype(int), 0, width - 1)
    return image[rows, columns]


DISTORTIONS: Final[dict[str, Distortion]] = {
    "defocus_blur": defocus_blur,
    "gaussian_blur": gaussian_blur,
    "motion_blur": motion_blur,
    "sensor_noise": sensor_noise,
    "chroma_noise": chroma_noise,
    "impulse_noise": impulse_noise,
    "jpeg": jpeg,
    "webp": webp,
    "downscaling": downscaling,
    "upscaling": upscaling,
    "exposure": exposure,
    "low_contrast": low_contrast,
    "saturation": saturation,
    "banding": banding,
    "oversharpening": oversharpening,
    "jitter": jitter,
}
