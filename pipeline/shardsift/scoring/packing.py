"""Cut the crops of several images at once, on the device that scores them.

Whole images go to the device, a table says where the pixels of their crops lie, and eight
operations cut them all. One crop after the other takes some forty an image, and each of them costs
the thread that feeds a GPU 5 to 30 µs.

Shapes in names: K images, N crops, B bytes, P pixels, S = 224, R = 3 S bytes of a crop's row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from shardsift.config import CropPlan
from shardsift.records import RgbImage
from shardsift.scoring.crops import CROP_SIZE, count_crops, patch_corners, sample_axis
from shardsift.scoring.transfer import Transfer

Places = npt.NDArray[np.int32]

_GROUP_IMAGES = 64
_GROUP_BYTES = 48 << 20
"""A group ends behind the image that reaches either."""

_CHANNELS = 3
_ROW_BYTES = _CHANNELS * CROP_SIZE
_SIZES_REMEMBERED = 4096
_ROWS_S: Places = np.arange(CROP_SIZE, dtype=np.int32)


class Group:
    """Images that went to the device together.

    Attributes:
        counts: how many crops each image has.
        crops: how many all of them have.
        pixels_B: all images on the device, one behind the other, uint8.
    """

    def __init__(self, images: Sequence[RgbImage], plan: CropPlan, transfer: Transfer) -> None:
        """Send images that the transfer has kept."""
        self._transfer = transfer
        self._sizes = [image.shape[:2] for image in images]
        corners = [_corners(height, width, plan) for height, width in self._sizes]
        self.counts = [len(own_M2) + 1 for own_M2 in corners]
        self.crops = sum(self.counts)
        self.pixels_B = transfer.send_images(images)
        self._whole_K = np.cumsum(self.counts) - 1
        pixels_K = np.array([height * width for height, width in self._sizes])
        self._origin_K = (np.cumsum(pixels_K) - pixels_K).astype(np.int32)
        self._width_K = np.array([width for _, width in self._sizes], np.int32)
        # Where a patch begins, and how far it is from row to row: both 0 of an image as a whole.
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
        if has_patches:  # something is written in the places of wholes, too, and then replaced
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
) -> Iterator[Group]:
    """Send images a few at a time, at most until their crops are `most_crops` or more.

    Images are drawn as groups are, and whoever makes them may use their memory for the next.
    """
    group: list[RgbImage] = []
    crops = size = 0
    for image in images:
        group.append(transfer.keep(image))
        height, width = image.shape[:2]
        crops += count_crops(height, width, plan)
        size += image.nbytes
        if crops >= most_crops or len(group) == _GROUP_IMAGES or size >= _GROUP_BYTES:
            yield Group(group, plan, transfer)
            group, crops, size = [], 0, 0
    if group:
        yield Group(group, plan, transfer)


class _Axis(NamedTuple):
    """Two source places of each target place, and how far it lies towards the second."""

    place_2S: Places
    share_S: npt.NDArray[np.float32]


@lru_cache(_SIZES_REMEMBERED)
def _axis(side: int) -> _Axis:
    first_S, second_S, share_S = sample_axis(side)
    return _Axis(np.stack([first_S.numpy(), second_S.numpy()]).astype(np.int32), share_S.numpy())


@lru_cache(_SIZES_REMEMBERED)
def _corners(height: int, width: int, plan: CropPlan) -> Places:
    return np.array(patch_corners(height, width, plan), np.int32).reshape(-1, 2)
