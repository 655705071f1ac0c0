"""A device that gives other scores than a CPU is found out before it has a corpus."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from shardsift import ScoreConfig, Scorer
from shardsift.errors import DeviceError
from shardsift.scoring.clip import ClipModel, load_clip
from shardsift.scoring.warm_up import WarmUp, rehearse, warm_up

CONFIG = ScoreConfig(model="compact")


@pytest.fixture(scope="module")
def model() -> ClipModel:
    return load_clip(CONFIG)


@pytest.fixture(scope="module")
def expected(model: ClipModel) -> WarmUp:
    return rehearse(CONFIG, model)


def scorer_of(model: ClipModel, **settings: object) -> Scorer:
    config = ScoreConfig.model_validate(CONFIG.model_dump() | settings)
    return Scorer(config, batch_size=8, loaded=model)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_device_that_scores_as_a_cpu_is_trusted(
    dtype: str, model: ClipModel, expected: WarmUp
) -> None:
    warm_up(scorer_of(model, dtype=dtype), expected)


@pytest.mark.parametrize("plan", ["paper", "fast", "global"])
def test_every_plan_is_tried(plan: str, model: ClipModel) -> None:
    config = CONFIG.model_copy(update={"crops": plan})
    warm_up(scorer_of(model, crops=plan), rehearse(config, model))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_features_of_other_pictures_are_noticed(
    dtype: str, model: ClipModel, expected: WarmUp
) -> None:
    swapped = replace(expected, features_KD=expected.features_KD[::-1])
    with pytest.raises(DeviceError, match=r"from a CPU's, .* or its driver is broken"):
        warm_up(scorer_of(model, dtype=dtype), swapped)


def test_other_scores_than_a_cpu_gives_are_noticed(model: ClipModel, expected: WarmUp) -> None:
    other = replace(expected, qualities_K=expected.qualities_K + np.float32(0.002))
    with pytest.raises(DeviceError, match=r"^features or scores differ by 0\.002"):
        warm_up(scorer_of(model), other)


def test_values_that_are_not_finite_are_noticed(model: ClipModel, expected: WarmUp) -> None:
    broken = replace(model, text_P2D=model.text_P2D * torch.nan)
    with pytest.raises(DeviceError, match="compact gives values that are not finite in float32"):
        warm_up(scorer_of(broken), expected)


def test_a_model_that_went_through_pickle_scores_the_same_bits(model: ClipModel) -> None:
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    copied: ClipModel = pickle.loads(pickle.dumps(model))  # noqa: S301
    scorers = scorer_of(model), scorer_of(copied), Scorer(CONFIG, batch_size=8)
    first, *others = (next(scorer.score([image])).per_crop.quality.tobytes() for scorer in scorers)
    assert others == [first, first]
    assert len({scorer.fingerprint for scorer in scorers}) == 1
