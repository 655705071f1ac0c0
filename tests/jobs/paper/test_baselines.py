"""The baselines rise with quality, and BRISQUE is that of its package."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from jobs.paper.baselines import Brisque
from shardsift.evaluation.agreement import laplacian_variance
from shardsift.records import RgbImage


@pytest.fixture(name="photograph", scope="module")
def a_photograph() -> RgbImage:
    data = pytest.importorskip("skimage.data")
    return np.ascontiguousarray(data.astronaut()[:301, :257])


def blurred(image: RgbImage, radius: float) -> RgbImage:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


def test_blur_lowers_the_variance_of_the_laplacian(photograph: RgbImage) -> None:
    values = [laplacian_variance(blurred(photograph, radius)) for radius in (0, 1, 2, 4)]
    assert values == sorted(values, reverse=True)
    assert laplacian_variance(np.full((20, 20, 3), 99, np.uint8)) == pytest.approx(0, abs=1e-6)


def test_blur_lowers_brisque(photograph: RgbImage) -> None:
    pytest.importorskip("brisque")
    measure = Brisque()
    values = [measure(blurred(photograph, radius)) for radius in (0, 2, 5)]
    assert values == sorted(values, reverse=True)


def test_brisque_is_what_its_package_gives(photograph: RgbImage) -> None:
    package = pytest.importorskip("brisque")

    class AsPublished(package.BRISQUE):  # slow, and mended for numpy 2.4 only
        def scale_features(self, features: Any) -> Any:
            plain = [np.asarray(value, np.float64).item() for value in features]
            return super().scale_features(plain)

    expected = AsPublished(url=False).score(photograph)
    assert Brisque()(photograph) == pytest.approx(-expected, abs=1e-6)


def test_an_image_of_one_colour_has_no_brisque() -> None:
    pytest.importorskip("brisque")
    assert math.isnan(Brisque()(np.zeros((64, 64, 3), np.uint8)))
