"""Target scores of crops, made without any human opinion: the quality that distortions leave.

A good photograph scores alike whatever it shows. A plain sky has no less quality than a meadow,
and a score that grew with contrast or detail would be a measure of those.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from jobs.training.words import ATTRIBUTE_HARM, ATTRIBUTES

SEVERITIES: Final = (0.12, 0.30, 0.50, 0.70, 0.90)
"""Share of quality that levels 1 to 5 of a distortion of weight 1 take away."""

WEIGHTS: Final[dict[str, float]] = {
    "defocus_blur": 1.0,
    "gaussian_blur": 1.0,
    "motion_blur": 1.1,
    "sensor_noise": 1.15,
    "chroma_noise": 1.2,
    "impulse_noise": 1.2,
    "jpeg": 1.15,
    "webp": 1.2,
    "downscaling": 1.15,
    "upscaling": 0.95,
    "exposure": 0.65,
    "low_contrast": 0.65,
    "saturation": 0.6,
    "banding": 0.85,
    "oversharpening": 0.8,
    "jitter": 1.1,
}
"""Weight of a distortion: the power to which the share of quality it leaves is raised.

Set near the square root of how far the distortion moves the features of an ImageNet network
(EfficientNet-Lite0, four depths, 40 photographs, all levels) against the average distortion.
"""


def severity(name: str, level: float) -> float:
    """Return the share of quality that a distortion of a (fractional) level takes."""
    share = np.interp(level, (0, 1, 2, 3, 4, 5), (0.0, *SEVERITIES))
    return float(1.0 - (1.0 - share) ** WEIGHTS[name])


def joint_severity(severities: list[float]) -> float:
    """Combine the severities of several distortions: remaining shares are multiplied."""
    return 1.0 - float(np.prod([1.0 - value for value in severities]))


def quality_target(harm: float) -> float:
    """Return the target score of a crop, 0.93 down to 0.06, for a harm of 0 to 1."""
    return 0.06 + 0.87 * (1.0 - harm)


def attribute_targets(names: tuple[str, ...], severities: list[float]) -> NDArray[np.float32]:
    """Return the probability of each attribute's good end after distortions, shape (A,)."""
    left = np.ones(len(ATTRIBUTES))
    for name, value in zip(names, severities, strict=True):
        harms = np.array(
            [1.0 if key == "overall" else ATTRIBUTE_HARM[name].get(key, 0.0) for key in ATTRIBUTES]
        )
        left *= 1.0 - harms * value
    return (0.05 + 0.9 * left).astype(np.float32)
