"""Distortions that grow with their level."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from jobs.training.distortions import DISTORTIONS, LEVELS, strength
from jobs.training.targets import WEIGHTS, severity
from jobs.training.unseen import UNSEEN
from jobs.training.words import ATTRIBUTE_HARM, ATTRIBUTES, NAMES
from tests.samples import picture


@pytest.mark.parametrize("name", [*DISTORTIONS, *UNSEEN])
def test_each_level_is_further_from_the_photograph(name: str) -> None:
    distort = (DISTORTIONS | UNSEEN)[name]
    photo = np.asarray(picture(240, 200))
    rough = np.random.default_rng(1).normal(0, 30, photo.shape)
    rough = ndimage.gaussian_filter(rough, (1, 1, 0))  # texture, for blurs to take away
    photo = np.clip(photo + rough, 0, 255).astype(np.uint8)
    before = photo.copy()
    distances: list[float] = []
    for level in LEVELS:
        distorted = distort(photo, level, np.random.default_rng(7))
        assert distorted.shape == photo.shape
        assert distorted.dtype == np.uint8
        distances.append(float(np.abs(distorted.astype(float) - photo).mean()))
    assert np.all(np.diff(distances) > 0), distances
    assert distances[0] > 0
    np.testing.assert_array_equal(photo, before)


@pytest.mark.parametrize("name", DISTORTIONS)
def test_equal_seeds_give_equal_pictures(name: str) -> None:
    photo = np.asarray(picture(80, 70))
    one, two = (DISTORTIONS[name](photo, 2.5, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_a_level_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="outside 1 to 5"):
        strength((1, 2, 3, 4, 5), 5.5)


@pytest.mark.parametrize("name", DISTORTIONS)
def test_severity_follows_the_level(name: str) -> None:
    severities = [severity(name, level) for level in (0, *LEVELS)]
    assert severities[0] == 0
    assert severities == sorted(severities)
    assert severities[-1] < 1


def test_training_never_sees_what_the_best_is_chosen_by() -> None:
    assert not UNSEEN.keys() & DISTORTIONS.keys()
    assert not set(UNSEEN.values()) & set(DISTORTIONS.values())


def test_every_distortion_has_words_and_harms_known_attributes() -> None:
    assert set(NAMES) == {"pristine", *DISTORTIONS}
    assert set(ATTRIBUTE_HARM) == set(WEIGHTS) == set(DISTORTIONS)
    assert {name for harms in ATTRIBUTE_HARM.values() for name in harms} <= set(ATTRIBUTES)
