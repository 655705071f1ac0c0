"""Views of a standard CLIP: pixel for pixel what open_clip's own transform gives."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import open_clip
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import Compose

from shardsift.images.views import View
from shardsift.records import RgbImage

KINDS = ("shortest", "longest", "squash")
SIZES = [(480, 640), (640, 480), (224, 224), (31, 100), (100, 31), (1, 1), (225, 224), (50, 700)]


def by_open_clip(view: View, pixels_HW3: RgbImage) -> Any:
    """The transform up to the tensor of 0..1."""
    transform = open_clip.image_transform(
        (view.height, view.width),
        is_train=False,
        resize_mode=view.resize,
        interpolation="bilinear" if view.bilinear else "bicubic",
        fill_color=view.fill,
    )
    *steps, _, _ = cast(Compose, transform).transforms  # without those to a tensor
    return np.asarray(Compose(steps)(Image.fromarray(pixels_HW3)))


def picture(height: int, width: int) -> RgbImage:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "view",
    [
        View(height=224, width=224),
        View(height=96, width=96, bilinear=True),
        View(height=64, width=64, resize="squash"),
        View(height=64, width=64, resize="longest", fill=7),
        View(height=64, width=65, resize="longest", bilinear=True),
        View(height=48, width=96),
    ],
    ids=repr,
)
def test_they_are_open_clips(view: View, size: tuple[int, int]) -> None:
    pixels_HW3 = picture(*size)
    np.testing.assert_array_equal(view.of(pixels_HW3), by_open_clip(view, pixels_HW3))


@settings(deadline=None, max_examples=100)
@given(height=st.integers(1, 300), width=st.integers(1, 300), kind=st.sampled_from(KINDS))
def test_of_any_size(height: int, width: int, kind: Any) -> None:
    """Pictures over 16 times as long as wide may differ by one level of 256."""
    view = View(height=32, width=32, resize=kind)
    pixels_HW3 = picture(height, width)
    found_SS3 = view.of(pixels_HW3).astype(int)
    assert found_SS3.shape == (32, 32, 3)
    longest = max(height / width, width / height)
    if kind == "longest" and longest > 30:  # open_clip fails there: it rounds a side to 0
        return
    difference = np.abs(found_SS3 - by_open_clip(view, pixels_HW3)).max()
    assert difference <= (1 if kind == "shortest" and longest > 16 else 0)


def test_the_longest_picture_takes_little_memory() -> None:
    """All of it, resized, would take 4.5 GB."""
    view = View(height=224, width=224)
    assert view.of(np.full((1, 30_000, 3), 9, np.uint8)).tolist() == [[[9] * 3] * 224] * 224
