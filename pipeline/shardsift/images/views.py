"""Pictures as an image tower of open_clip takes them: resized to one size, and cropped.

Pillow resizes them, as it does behind open_clip's own transform, so that pixels are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from shardsift.measures import Picture
from shardsift.records import RgbImage

_MOST_ASPECT = 16
"""Largest aspect ratio of a picture that is resized as a whole; others could take gigabytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """Shape of a tower's pictures, and the way to it.

    Attributes:
        height, width: in pixels.
        resize: `shortest` side to fit, then the centre is cropped; `longest`, then the rest is
            filled; `squash` both.
        bilinear: whether pictures are resized bilinearly; else bicubically. Both with antialiasing.
        fill: value of filled pixels, 0 to 255.
    """

    height: int
    width: int
    resize: Literal["shortest", "longest", "squash"] = "shortest"
    bilinear: bool = False
    fill: int = 0

    @property
    def needs(self) -> Sequence[str]:
        """Pixels alone."""
        return ("pixels",)

    def prepare(self, picture: Picture) -> RgbImage:
        """Resize and crop a picture: uint8, shape (height, width, 3)."""
        assert picture.pixels is not None, "only what could be decoded is asked for"
        return self.of(picture.pixels)

    def of(self, pixels_HW3: RgbImage) -> RgbImage:
        """Resize and crop pixels: uint8, shape (height, width, 3)."""
        height, width = pixels_HW3.shape[:2]
        image = Image.fromarray(np.ascontiguousarray(pixels_HW3))
        rows, columns = self._resized(height, width)
        kind = Image.Resampling.BILINEAR if self.bilinear else Image.Resampling.BICUBIC
        box = None
        if max(rows / self.height, columns / self.width) > _MOST_ASPECT:
            top = height * (1 - min(1.0, self.height / rows)) / 2
            left = width * (1 - min(1.0, self.width / columns)) / 2
            box = (left, top, width - left, height - top)
            rows, columns = min(rows, self.height), min(columns, self.width)
        if (rows, columns) != (height, width):
            image = image.resize((columns, rows), kind, box)
        left = _offset(columns, self.width)
        top = _offset(rows, self.height)
        if min(left, top) < 0:
            filled = Image.new("RGB", (self.width, self.height), (self.fill,) * 3)
            filled.paste(image, (max(0, -left), max(0, -top)))
            return np.asarray(filled)
        return np.asarray(image.crop((left, top, left + self.width, top + self.height)))

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width after resizing, rounded as open_clip does."""
        if self.resize == "squash":
            return self.height, self.width
        if self.resize == "shortest" and self.height == self.width:
            short, long = sorted((height, width))
            length = int(self.height * long / short)
            return (length, self.width) if height > width else (self.height, length)
        ratios = height / self.height, width / self.width
        ratio = max(ratios) if self.resize == "longest" else min(ratios)
        return max(1, round(height / ratio)), max(1, round(width / ratio))


def _offset(size: int, wanted: int) -> int:
    """Return where the middle begins; below 0 if it has to be filled."""
    return round((size - wanted) / 2.0) if size >= wanted else -((wanted - size) // 2)
