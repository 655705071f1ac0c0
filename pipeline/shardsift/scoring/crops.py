"""The scored views of images, and how the views of many images are cut at once.

Plan `paper`: all 224x224 patches at stride 128, row by row, without padding (so a right or bottom
margin under 128 px is not covered), then the whole image resized to 224x224. Plan `fast`: the same,
but at most four of the patches, evenly spread, so that its cost does not grow with the image. Plan
`global`: the whole image alone, as for every image with a side under 224.

Shapes in names: H height, W width, 3 channels R G B, S = 224, K images, N crops, B bytes, P pixels,
R = 3 S bytes of a row of a crop.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shardsift.config import CropPlan
from shardsift.records import RgbImage
from shardsift.scoring.transfer import Transfer

CROP_SIZE = 224
STRIDE = 128
FAST_PATCHES = 4
"""Patches of an image in plan `fast`, at most."""


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
    """Return the two source positions of each target position, and the weight of the second."""
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


# --- crops of several images at once, on the device -----------------------------------------------


Places = npt.NDArray[np.int32]

_GROUP_IMAGES = 64
_GROUP_BYTES = 48 << 20
"""A group ends behind the image that reaches either."""

_CHANNELS = 3
_ROW_BYTES = _CHANNELS * CROP_SIZE
_SIZES_REMEMBERED = 4096
_ROWS_S: Places = np.arange(CROP_SIZE, dtype=np.int32)


class ImageGroup:
    """Images that went to the device together.

    Attributes:
        counts: number of crops of each image.
        crops: number of all crops.
        pixels_B: all images on the device, concatenated, uint8.
    """

    def __init__(self, images: Sequence[RgbImage], plan: CropPlan, transfer: Transfer) -> None:
        """Send images that the transfer has kept."""
        self._transfer = transfer
        self._sizes = [image.shape[:2] for image in images]
        corners = [_corners(height, width, plan) for height, width in self._sizes]
        self.counts: list[int] = [len(own_M2) + 1 for own_M2 in corners]
        self.crops: int = sum(self.counts)
        self.pixels_B: Tensor = transfer.send_images(images)
        self._whole_K = np.cumsum(self.counts) - 1
        pixels_K = np.array([height * width for height, width in self._sizes])
        self._origin_K = (np.cumsum(pixels_K) - pixels_K).astype(np.int32)
        self._width_K = np.array([width for _, width in self._sizes], np.int32)
        # First pixel of each patch, and the distance of its rows; both 0 for a whole image.
        self._width_N = np.repeat(self._width_K, self.counts)
        self._width_N[self._whole_K] = 0
        whole_12 = np.zeros((1, 2), np.int32)
        corner_N2 = np.concatenate([part for own_M2 in corners for part in (own_M2, whole_12)])
        self._first_N = corner_N2[:, 0] * self._width_N + corner_N2[:, 1]
        self._first_N += np.repeat(self._origin_K, self.counts)
        self._first_N[self._whole_K] = 0

    def cut(self, begin: int, end: int, into_NSS3: Tensor) -> None:
        """Write the crops from `begin` to `end`, values 0..255, float32.

        Patches are copied, and wholes resized, as `cut_crops` does it, to the bit.
        """
        wholes = slice(*np.searchsorted(self._whole_K, (begin, end)))
        place_K = self._whole_K[wholes] - begin
        width_N1 = self._width_N[begin:end, None]
        start_NS = self._first_N[begin:end, None] + width_N1 * _ROWS_S
        has_patches = len(place_K) < end - begin
        patches = [start_NS] if has_patches else []
        tables = self._transfer.send_table([place_K, *patches, *self._resizing(wholes)])
        if has_patches:  # places of whole images are written, too, and replaced below
            rows_PR = self.pixels_B.unfold(0, _ROW_BYTES, _CHANNELS)
            patches_NR = rows_PR.index_select(0, tables.pop(1).flatten())
            into_NSS3.view(-1, _ROW_BYTES).copy_(patches_NR)
        if len(place_K):
            into_NSS3.index_copy_(0, tables[0], _resized(self.pixels_B, *tables[1:]))

    def _resizing(self, wholes: slice) -> Iterator[npt.NDArray[Any]]:
        """Yield what images are resized by: two rows and two columns a pixel, and their shares.

        Rows are places of their first pixels.
        """
        sizes = self._sizes[wholes]
        if not sizes:
            return
        rows, columns = ([_axis(side) for side in sides] for sides in zip(*sizes, strict=True))
        width_K11, origin_K11 = (
            own_K[wholes][:, None, None] for own_K in (self._width_K, self._origin_K)
        )
        yield np.stack([axis.place_2S for axis in rows]) * width_K11 + origin_K11
        yield np.stack([axis.place_2S for axis in columns])
        yield np.stack([axis.share_S for axis in rows])
        yield np.stack([axis.share_S for axis in columns])


def _resized(
    pixels_B: Tensor, row_K2S: Tensor, column_K2S: Tensor, down_KS: Tensor, right_KS: Tensor
) -> Tensor:
    """Blend four pixels for each one, as `resize_whole` does: float32, shape (K, S, S, 3)."""
    pixel_K2S2S = row_K2S[..., None, None] + column_K2S[:, None, None]
    pixels_P3 = pixels_B.view(-1, _CHANNELS)
    found_K2S2S3 = pixels_P3.index_select(0, pixel_K2S2S.flatten()).float()
    left_K2SS3, right_K2SS3 = found_K2S2S3.view(*pixel_K2S2S.shape, _CHANNELS).unbind(3)
    blended_K2SS3 = left_K2SS3.lerp(right_K2SS3, right_KS[:, None, None, :, None])
    above_KSS3, below_KSS3 = blended_K2SS3.unbind(1)
    return above_KSS3.lerp(below_KSS3, down_KS[:, :, None, None])


def send_in_groups(
    images: Iterable[RgbImage], plan: CropPlan, most_crops: int, transfer: Transfer
) -> Iterator[ImageGroup]:
    """Send images a few at a time, at most until their crops are `most_crops` or more.

    Images are taken when groups are, and the iterator may reuse their memory for the next.
    """
    group: list[RgbImage] = []
    crops = size = 0
    for image in images:
        group.append(transfer.keep(image))
        height, width = image.shape[:2]
        crops += count_crops(height, width, plan)
        size += image.nbytes
        if crops >= most_crops or len(group) == _GROUP_IMAGES or size >= _GROUP_BYTES:
            yield ImageGroup(group, plan, transfer)
            group, crops, size = [], 0, 0
    if group:
        yield ImageGroup(group, plan, transfer)


class _Axis(NamedTuple):
    """Two source positions of each target position, and the weight of the second."""

    place_2S: Places
    share_S: npt.NDArray[np.float32]


@lru_cache(_SIZES_REMEMBERED)
def _axis(side: int) -> _Axis:
    first_S, second_S, share_S = sample_axis(side)
    return _Axis(np.stack([first_S.numpy(), second_S.numpy()]).astype(np.int32), share_S.numpy())


@lru_cache(_SIZES_REMEMBERED)
def _corners(height: int, width: int, plan: CropPlan) -> Places:
    return np.array(patch_corners(height, width, plan), np.int32).reshape(-1, 2)
