"""The views of an image that are scored.

Plan `paper`: all 224x224 patches at stride 128, row by row, without padding (so a right or bottom
margin under 128 px is not covered), then the whole image resized to 224x224. Plan `fast`: the same,
but at most four of the patches, evenly spread, so that its cost does not grow with the image. Plan
`global`: the whole image alone, as for every image with a side under 224.

Shapes in names: H height, W width, 3 channels R G B, S = 224.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from shardsift.config import CropPlan

CROP_SIZE = 224
STRIDE = 128
FAST_PATCHES = 4
"""At most so many patches of an image are in plan `fast`."""


def count_crops(height: int, width: int, plan: CropPlan) -> int:
    """Count the views that an image of this size has."""
    return len(patch_corners(height, width, plan)) + 1


def patch_corners(height: int, width: int, plan: CropPlan) -> list[tuple[int, int]]:
    """Return top and left of each patch, in pixels, in the order of the scores."""
    if plan == "global":
        return []
    rows: Sequence[int]
    columns: Sequence[int]
    rows, columns = map(range, patch_grid(height, width))
    if plan == "fast":
        rows, columns = _spread(rows, columns, FAST_PATCHES)
    return [(row * STRIDE, column * STRIDE) for row in rows for column in columns]


def patch_grid(height: int, width: int) -> tuple[int, int]:
    """Count rows and columns of patches in the paper's plan; 0 patches if a side is under S."""
    if min(height, width) < CROP_SIZE:
        return 0, 0
    return (height - CROP_SIZE) // STRIDE + 1, (width - CROP_SIZE) // STRIDE + 1


def cut_crops(image_HW3: Tensor, plan: CropPlan) -> Iterator[Tensor]:
    """Yield the crops of an image one by one, shape (S, S, 3), values 0..255, on its device.

    Patches are views of the image, nothing is copied; the resized whole is float32.
    """
    height, width = image_HW3.shape[:2]
    for top, left in patch_corners(height, width, plan):
        yield image_HW3[top : top + CROP_SIZE, left : left + CROP_SIZE]
    yield resize_whole(image_HW3)


def resize_whole(image_HW3: Tensor) -> Tensor:
    """Resize to (S, S, 3) as `torch.nn.functional.interpolate` does by default.

    Bilinear, `align_corners=False`, no antialiasing. That reads four pixels for each one written,
    so only those are gathered: the cost hardly grows with the image.
    """
    rows_S, next_rows_S, down_S = sample_axis(image_HW3.shape[0], image_HW3.device)
    columns_S, next_columns_S, right_S = sample_axis(image_HW3.shape[1], image_HW3.device)
    right_S1, down_S11 = right_S[:, None], down_S[:, None, None]

    def blend_columns(rows_S: Tensor) -> Tensor:  # float32, shape (S, S, 3)
        rows_SW3 = image_HW3.index_select(0, rows_S)
        left_SS3, right_SS3 = (
            rows_SW3.index_select(1, places_S).float() for places_S in (columns_S, next_columns_S)
        )
        return left_SS3.lerp(right_SS3, right_S1)

    return blend_columns(rows_S).lerp(blend_columns(next_rows_S), down_S11)


def sample_axis(length: int, device: torch.device | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Return the two source places of each target place, and how far it lies towards the second."""
    place_S = (torch.arange(CROP_SIZE, device=device) + 0.5) * (length / CROP_SIZE) - 0.5
    place_S = place_S.clamp(min=0)
    first_S = place_S.long().clamp(max=length - 1)
    return first_S, (first_S + 1).clamp(max=length - 1), place_S - first_S


def _spread(rows: Sequence[int], columns: Sequence[int], limit: int) -> tuple[list[int], list[int]]:
    """Spread places evenly over a grid: as many rows and columns as can be, `limit` places at most.

    Of equal numbers the one whose shape is most like the grid's. The outermost rows and columns
    are always among them, or the middle one if there is one only.
    """
    if not rows or not columns:
        return [], []
    shapes = [(r, min(len(columns), limit // r)) for r in range(1, min(len(rows), limit) + 1)]
    aspect = math.log(len(rows) / len(columns))
    best = max(shapes, key=lambda s: (s[0] * s[1], -abs(math.log(s[0] / s[1]) - aspect)))
    return _pick(rows, best[0]), _pick(columns, best[1])


def _pick(places: Sequence[int], count: int) -> list[int]:
    if count == 1:
        return [places[len(places) // 2]]
    return [places[round(n * (len(places) - 1) / (count - 1))] for n in range(count)]
