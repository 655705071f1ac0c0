"""Random fields that artefacts and sources are made with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def smooth_field(
    shape: tuple[int, int], cell: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Field of about zero mean and unit deviation that varies over `cell` pixels."""
    height, width = shape
    rows, columns = max(3, round(height / cell) + 2), max(3, round(width / cell) + 2)
    rough = Image.fromarray(rng.standard_normal((rows, columns), dtype=np.float32))
    return np.asarray(rough.resize((width, height), Image.Resampling.BICUBIC))
