"""Which views of an image are scored, pixel by pixel."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from shardsift.scoring.crops import (
    CROP_SIZE,
    count_crops,
    cut_crops,
    patch_corners,
    resize_whole,
)


def noise(height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(height * width)
    return torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("height", "width", "crops"),
    [(223, 999, 1), (224, 224, 2), (351, 480, 4), (352, 480, 7), (384, 512, 7), (768, 1024, 36)],
)
def test_crops_of_the_paper(height: int, width: int, crops: int) -> None:
    assert count_crops(height, width, "paper") == crops
    assert len(list(cut_crops(noise(height, width), "paper"))) == crops


def test_patches_go_row_by_row() -> None:
    corners = [(0, 0), (0, 128), (0, 256), (128, 0), (128, 128), (128, 256)]
    assert patch_corners(352, 480, "paper") == corners


def test_patches_are_parts_of_the_image_and_the_whole_comes_last() -> None:
    image = noise(352, 480)
    *patches, whole = cut_crops(image, "paper")
    for (top, left), patch in zip(patch_corners(352, 480, "paper"), patches, strict=True):
        assert torch.equal(patch, image[top : top + CROP_SIZE, left : left + CROP_SIZE])
    assert torch.equal(whole, resize_whole(image))


def test_the_global_plan_is_the_whole_image_alone() -> None:
    (only,) = cut_crops(noise(600, 600), "global")
    assert torch.equal(only, resize_whole(noise(600, 600)))


@pytest.mark.parametrize(
    ("height", "width", "corners"),
    [
        (300, 200, []),
        (224, 352, [(0, 0), (0, 128)]),
        (480, 608, [(0, 0), (0, 384), (256, 0), (256, 384)]),
        (224, 3000, [(0, 0), (0, 896), (0, 1792), (0, 2688)]),
        (3000, 4000, [(0, 0), (0, 3712), (2688, 0), (2688, 3712)]),
    ],
)
def test_the_fast_plan_spreads_four_patches_at_most(
    height: int, width: int, corners: list[tuple[int, int]]
) -> None:
    assert patch_corners(height, width, "fast") == corners
    assert set(corners) <= set(patch_corners(height, width, "paper"))


@given(st.integers(1, 700), st.integers(1, 700))
@settings(deadline=None, max_examples=40)
def test_resizing_is_torchs_bilinear(height: int, width: int) -> None:
    image = noise(height, width)
    theirs = torch.nn.functional.interpolate(
        image.permute(2, 0, 1)[None].float(),
        size=(CROP_SIZE, CROP_SIZE),
        mode="bilinear",
        align_corners=False,
        antialias=False,
    )
    # Of 255: float32 places a sample among 700 pixels to within some 700 * 2**-24 of a pixel.
    torch.testing.assert_close(resize_whole(image), theirs[0].permute(1, 2, 0), rtol=0, atol=2e-2)
