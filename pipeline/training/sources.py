"""Ways in which good pictures differ: mood, colour and depth of field. None is a fault.

Applied to a whole group before anything is distorted, so that a model can't take a dark, a muted
or a mostly soft picture for a bad one.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pipeline.records import RgbImage
from pipeline.training.distortions import gaussian, luminance, to_uint8
from pipeline.training.fields import smooth_field

_TONED: Final = 0.6
_SHALLOW: Final = 0.25


def vary(image: RgbImage, rng: np.random.Generator) -> RgbImage:
    """The picture as another photographer might have taken it."""
    if rng.random() < _SHALLOW:
        image = _with_shallow_focus(image, rng)
    return _with_another_tone(image, rng) if rng.random() < _TONED else image


def _with_another_tone(image: RgbImage, rng: np.random.Generator) -> RgbImage:
    """Another brightness, contrast, saturation and white balance, within good taste."""
    gamma, contrast, saturation = np.exp(rng.normal(0.0, (0.28, 0.14, 0.25)))
    balance = np.exp(rng.normal(0.0, 0.05, 3)).astype(np.float32)
    values = (image.astype(np.float32) / 255.0) ** np.float32(gamma) * balance
    grey = luminance(values)
    values = grey + np.float32(saturation) * (values - grey)
    middle = values.mean()
    return to_uint8(255.0 * (middle + np.float32(contrast) * (values - middle)))


def _with_shallow_focus(image: RgbImage, rng: np.random.Generator) -> RgbImage:
    """A sharp subject of a third to two thirds of the picture before a soft background."""
    shape = image.shape[:2]
    field = smooth_field(shape, max(shape) / rng.uniform(1.5, 3.0), rng)
    edge = np.quantile(field, rng.uniform(0.33, 0.67))
    sharp = 1.0 / (1.0 + np.exp((field - edge) * 12.0))[:, :, None]
    soft = gaussian(image, rng.uniform(1.5, 5.0))
    return to_uint8(sharp * image.astype(np.float32) + (1.0 - sharp) * soft)
