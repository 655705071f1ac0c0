"""Crops of many images are equal to the bit to those of single images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from shardsift.config import CropPlan
from shardsift.records import RgbImage
from shardsift.scoring.crops import CROP_SIZE, ImageGroup, cut_crops, send_in_groups
from shardsift.scoring.transfer import PinnedMemory, Transfer

CPU = torch.device("cpu")
ON_CPU = Transfer(CPU, PinnedMemory(CPU))
SIDE = st.integers(1, 700)
SIZES = st.lists(st.tuples(SIDE, SIDE), min_size=1, max_size=6)


def noise(height: int, width: int, seed: int = 0) -> RgbImage:
    return np.random.default_rng([height, width, seed]).integers(
        0, 256, (height, width, 3), np.uint8
    )


def one_by_one(images: Sequence[RgbImage], plan: CropPlan) -> Tensor:
    crops = (crop for image in images for crop in cut_crops(torch.from_numpy(image), plan))
    return torch.stack([crop.float() for crop in crops])


def together(images: Sequence[RgbImage], plan: CropPlan, parts: int = 1) -> Tensor:
    group = ImageGroup([ON_CPU.keep(image) for image in images], plan, ON_CPU)
    crops_NSS3 = torch.full((group.crops, CROP_SIZE, CROP_SIZE, 3), torch.nan)
    for part in np.array_split(np.arange(group.crops), parts):
        if len(part):
            begin, end = int(part[0]), int(part[-1]) + 1
            group.cut(begin, end, crops_NSS3[begin:end])
    return crops_NSS3


@settings(max_examples=60, deadline=None)
@given(sizes=SIZES, plan=st.sampled_from(get_args(CropPlan)), parts=st.integers(1, 5))
def test_crops_of_a_group_are_those_of_its_images(
    sizes: list[tuple[int, int]], plan: CropPlan, parts: int
) -> None:
    images = [noise(*size) for size in sizes]
    assert torch.equal(together(images, plan, parts), one_by_one(images, plan))


def test_images_that_lie_side_by_side_are_told_apart() -> None:
    sizes = [(300, 400), (5, 9), (224, 224)]
    memory = np.random.default_rng(0).integers(0, 256, 1_000_000, np.uint8)
    begins = np.cumsum([7, *(3 * height * width for height, width in sizes)])
    images = [
        memory[begin : begin + 3 * height * width].reshape(height, width, 3)
        for begin, (height, width) in zip(begins, sizes, strict=False)
    ]
    pinned = PinnedMemory(CPU)
    unpin = pinned.pin(memory[: int(begins[2])])
    transfer = Transfer(CPU, pinned)
    assert [transfer.keep(image) is image for image in images] == [True, True, False]
    for order in (images, images[::-1]):
        group = ImageGroup([transfer.keep(image) for image in order], "paper", transfer)
        crops_NSS3 = torch.empty((group.crops, CROP_SIZE, CROP_SIZE, 3))
        group.cut(0, group.crops, crops_NSS3)
        assert torch.equal(crops_NSS3, one_by_one(order, "paper"))
    unpin()
    assert transfer.keep(images[0]) is not images[0]


@pytest.mark.parametrize("view", ["turned", "every second column", "read-only"])
def test_any_memory_layout_is_cut_alike(view: str) -> None:
    image = noise(300, 500)
    if view == "read-only":
        image.flags.writeable = False
    image = {"turned": image.transpose(1, 0, 2), "every second column": image[:, ::2]}.get(
        view, image
    )
    expected = one_by_one([image.copy()], "paper")
    assert torch.equal(together([image], "paper"), expected)


def test_images_are_drawn_a_group_at_a_time() -> None:
    drawn = 0

    def images() -> Iterator[RgbImage]:
        nonlocal drawn
        for seed in range(40):
            drawn += 1
            yield noise(240, 240, seed)  # two crops each

    groups = send_in_groups(images(), "paper", 8, ON_CPU)
    assert next(groups).counts == [2, 2, 2, 2]
    assert drawn == 4
    assert [group.crops for group in groups] == [8] * 9
    assert [group.crops for group in send_in_groups(images(), "paper", 1000, ON_CPU)] == [80]
