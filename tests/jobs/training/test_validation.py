"""Levels in order: definition and counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import MappingProxyType

import numpy as np
import pytest

from jobs.training.validation import validate
from shardsift.config import Attributes, ScoreConfig
from shardsift.images.slabs import Bytes, Unpin, leave
from shardsift.records import CropScores, ImageScore, RgbImage
from tests.samples import picture

PHOTOS = [np.asarray(picture(width=40, height=30, seed=seed)) for seed in range(2)]


def darken(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    return (image * (1.0 - 0.15 * level)).astype(np.uint8)


def spoil_one(image: RgbImage, level: float, rng: np.random.Generator) -> RgbImage:
    """As `darken`, but the second photograph's level 4 is brighter than its level 3."""
    second = np.array_equal(image, PHOTOS[1])
    return darken(image, 2.5 if second and level == 4 else level, rng)


class Brightness:
    """Scores are the mean brightness of an image; `q_mag` is its opposite."""

    config = ScoreConfig()
    fingerprint = "0" * 16
    attributes: Attributes = MappingProxyType({})
    embedding_values = 0

    def score(self, images: Iterable[RgbImage]) -> Iterator[ImageScore]:
        for image in images:
            bright = np.array([image.mean() / 255.0], np.float32)
            weight = np.array([0.25], np.float32)
            cues = {"quality": bright, "q_sim": bright, "q_mag": 1.0 - bright}
            yield ImageScore(per_crop=CropScores(**cues, w_sim=weight))

    def pin(self, memory: Bytes) -> Unpin:
        return leave(memory)


def test_a_series_is_in_order_when_every_level_scores_less_than_the_one_before() -> None:
    result = validate(Brightness(), PHOTOS, {"darken": darken, "spoil_one": spoil_one})
    assert result.by_distortion["darken"].series == 1.0
    assert result.by_distortion["spoil_one"].series == 0.5
    assert result.by_distortion["spoil_one"].neighbours == 7 / 8
    assert result.quality.series == result.q_sim.series == 0.75
    assert result.q_mag.neighbours == pytest.approx(1 / 16)
    assert result.q_mag.srcc == pytest.approx(-result.quality.srcc)
    assert result.w_sim == 0.25
