"""Graded artefacts like those of image generators: smears, warps, grids, ghosts, odd colour.

Same form as `distortions.DISTORTIONS`. They stand in for what a generator gets wrong and a camera
never does, so that a model taught on photographs alone does not take a fluent but wrong texture
for quality.
"""

from __future__ import annotations

from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy import ndimage

from pipeline.records import RgbImage
from pipeline.training.distortions import (
    Distortion,
    FloatImage,
    gaussian,
    luminance,
    resize,
    strength,
    to_uint8,
)
from pipeline.training.fields import smooth_field

_CANDIDATES: Final = 1200
"""Patches of a picture that a collage chooses from."""


def _box(values: FloatImage, size: int) -> FloatImage:
    return cast(Any, ndimage).uniform_filter(values, size=(size, size, 0), mode="reflect")


def plastic(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Texture wiped out between edges that stay: a guided filter with growing tolerance."""
    values = image.astype(np.float32)
    tolerance = strength((6.0, 11.0, 18.0, 28.0, 42.0), level) ** 2
    size = 2 * round(strength((1.6, 2.0, 3.0, 4.0, 6.0), level)) + 1
    mean = _box(values, size)
    variance = np.maximum(_box(values * values, size) - mean * mean, 0.0)
    gain = variance / (variance + tolerance)
    return to_uint8(_box(gain, size) * values + _box((1.0 - gain) * mean, size))


def smear(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Strokes as of a wet brush: a median filter of 0.6 to 4 px radius."""
    radius = strength((0.6, 1.0, 1.7, 2.6, 4.0), level)
    low = int(radius)
    share = np.float32(radius - low)
    picture = Image.fromarray(image)
    small = np.asarray(
        picture.filter(ImageFilter.MedianFilter(2 * low + 1)) if low else picture
    ).astype(np.float32)
    large = np.asarray(picture.filter(ImageFilter.MedianFilter(2 * low + 3))).astype(np.float32)
    return to_uint8((1.0 - share) * small + share * large)


def warp(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Shapes melt: a smooth random displacement of 1 to 12 px."""
    height, width = image.shape[:2]
    cell = rng.uniform(7.0, 26.0)
    amplitude = strength((0.10, 0.18, 0.28, 0.42, 0.62), level) * cell
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    where = [
        rows + amplitude * smooth_field((height, width), cell, rng),
        columns + amplitude * smooth_field((height, width), cell, rng),
    ]
    channels = [
        ndimage.map_coordinates(image[:, :, c].astype(np.float32), where, order=1, mode="mirror")
        for c in range(3)
    ]
    return to_uint8(np.stack(channels, axis=-1))


def grid(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """The checkerboard of a transposed convolution, period 2, 4 or 8 px."""
    height, width = image.shape[:2]
    period = int(rng.choice([2, 4, 8]))
    tile = rng.standard_normal((period, period, 3), dtype=np.float32)
    tile -= tile.mean(axis=(0, 1))
    pattern = np.tile(tile, (height // period + 1, width // period + 1, 1))[:height, :width]
    return to_uint8(
        image.astype(np.float32) + strength((4.0, 8.0, 14.0, 22.0, 34.0), level) * pattern
    )


def ghost(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """A mirrored copy shines through: two contents, neither whole."""
    share = strength((0.10, 0.18, 0.27, 0.37, 0.48), level)
    other = image[:, ::-1] if rng.random() < 0.5 else image[::-1]
    return to_uint8((1.0 - share) * image.astype(np.float32) + share * other.astype(np.float32))


def colour_cast(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Colours drift: a tint and too much or too little saturation."""
    values = image.astype(np.float32)
    grey = luminance(values)
    tint = rng.standard_normal(3).astype(np.float32)
    tint = (tint - tint.mean()) / np.abs(tint - tint.mean()).max()
    amount = strength((0.15, 0.3, 0.5, 0.72, 0.95), level)
    factor = 1.0 - amount if rng.random() < 0.5 else 1.0 + 2.5 * amount
    return to_uint8(grey + factor * (values - grey) + 45.0 * np.float32(amount) * tint)


def low_resolution_generator(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Drawn small, smoothed, enlarged and crisped: sharp edges with nothing between them."""
    height, width = image.shape[:2]
    factor = strength((1.4, 1.9, 2.6, 3.6, 5.2), level)
    size = max(8, round(width / factor)), max(8, round(height / factor))
    small = plastic(
        resize(image, *size, Image.Resampling.BICUBIC), min(5.0, 0.7 * level + 0.3), rng
    )
    large = resize(small, width, height, Image.Resampling.LANCZOS)
    values = large.astype(np.float32)
    return to_uint8(values + rng.uniform(0.4, 1.4) * (values - gaussian(large, 0.7 * factor)))


def blotches(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Cloudy patches of wrong tone and colour, 8 to 30 px wide."""
    shape = image.shape[:2]
    cell = rng.uniform(8.0, 30.0)
    field = np.stack([smooth_field(shape, cell, rng) for _ in range(3)], axis=-1)
    tone = smooth_field(shape, cell, rng)[:, :, None]
    return to_uint8(
        image.astype(np.float32)
        + strength((5.0, 9.0, 15.0, 23.0, 34.0), level) * (0.6 * field + 0.7 * tone)
    )


def collage(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Told again in wrong words: patches of 8 to 20 px from elsewhere in the picture.

    Each takes the place of one with about its colours, so sharpness and palette stay and only
    what the picture shows falls apart. The level is the share of the picture replaced.
    """
    half = int(rng.integers(4, 11))
    rows, columns = image.shape[0] // half - 1, image.shape[1] // half - 1
    cells = image[: (rows + 1) * half, : (columns + 1) * half].astype(np.float32)
    cells = cells.reshape(rows + 1, half, columns + 1, half, 3).swapaxes(1, 2)
    means = cells.mean(axis=(2, 3))
    looks = [means[:-1, :-1], means[:-1, 1:], means[1:, :-1], means[1:, 1:]]
    looks_P12 = np.concatenate(looks, axis=-1).reshape(-1, 12)
    places_P2 = np.indices((rows, columns)).reshape(2, -1).T
    drawn_C = rng.choice(len(looks_P12), min(len(looks_P12), _CANDIDATES), replace=False)
    distance_PC = (
        (looks_P12**2).sum(1)[:, None]
        - 2.0 * looks_P12 @ looks_P12[drawn_C].T
        + (looks_P12[drawn_C] ** 2).sum(1)
    )
    apart_PC = np.abs(places_P2[:, None] - places_P2[drawn_C]).max(axis=-1)
    distance_PC[apart_PC < 3] = np.inf
    chosen_P2 = places_P2[drawn_C[distance_PC.argmin(axis=1)]]
    retold = _overlaid(cells, chosen_P2, (rows, columns))
    order = smooth_field((rows + 1, columns + 1), 3.0, rng).argsort(axis=None).argsort()
    replaced = order < strength((0.12, 0.28, 0.5, 0.75, 1.0), level) * order.size
    mask = replaced.reshape(rows + 1, columns + 1, 1, 1, 1)
    result = image.copy()
    height, width = (rows + 1) * half, (columns + 1) * half
    mixed = np.where(mask, retold, cells).swapaxes(1, 2).reshape(height, width, 3)
    result[:height, :width] = to_uint8(mixed)
    return result


def _overlaid(
    cells: FloatImage, chosen_P2: NDArray[np.int64], grid_shape: tuple[int, int]
) -> FloatImage:
    """Patches of 2x2 cells, one around each inner corner of the cells, blended into each other."""
    rows, columns = grid_shape
    half = cells.shape[2]
    ramp = (np.arange(half, dtype=np.float32) + 0.5) / half
    rising = (1.0 - ramp, ramp)  # weight of a patch's second and first half in a cell, as it leaves
    total, weights = np.zeros_like(cells), np.full((*cells.shape[:2], half, half, 1), 1e-6)
    for down in (0, 1):
        for right in (0, 1):
            window = np.outer(rising[1 - down], rising[1 - right])[:, :, None]
            part = cells[chosen_P2[:, 0] + down, chosen_P2[:, 1] + right]
            where = slice(down, down + rows), slice(right, right + columns)
            total[where] += window * part.reshape(rows, columns, half, half, 3)
            weights[where] += window
    return total / weights.astype(np.float32)


def phase(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """Shapes dissolve into texture: random phases on an unchanged power spectrum."""
    values = image.astype(np.float32)
    mean = values.mean(axis=(0, 1))
    # The windowed spectrum of white noise is Hermitian, as the phases of a real picture must be.
    noise = np.angle(np.fft.rfft2(rng.standard_normal(image.shape[:2])))
    turned = np.exp(1j * strength((0.12, 0.2, 0.3, 0.43, 0.6), level) * noise)[:, :, None]
    spectrum = np.fft.rfft2(values - mean, axes=(0, 1)) * turned
    return to_uint8(np.fft.irfft2(spectrum, s=image.shape[:2], axes=(0, 1)).astype("f4") + mean)


ARTEFACTS: Final[dict[str, Distortion]] = {
    "plastic": plastic,
    "smear": smear,
    "warp": warp,
    "grid": grid,
    "ghost": ghost,
    "colour_cast": colour_cast,
    "low_resolution_generator": low_resolution_generator,
    "blotches": blotches,
    "collage": collage,
    "phase": phase,
}
