"""The CLIP in the package: small, and its scores mean something."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from skimage import data

import shardsift
from jobs.training.distortions import DISTORTIONS
from shardsift.config import ScoreConfig
from shardsift.records import RgbImage
from shardsift.scoring.scorer import Scorer

COMPACT = Path(str(shardsift.__file__)).parent / "models" / "compact_model"


@pytest.fixture(scope="module")
def photographs() -> list[RgbImage]:
    """Parts of pictures that the model was not trained on."""
    return [data.astronaut()[:320, 96:416], data.rocket()[:320, 160:480]]


def qualities(scorer: Scorer, images: list[RgbImage]) -> list[float]:
    return [score.quality for score in scorer.score(images)]


def test_it_is_small_and_says_what_it_is_made_of() -> None:
    files = [COMPACT / name for name in ("config.json", "weights.safetensors")]
    assert sum(file.stat().st_size for file in files) <= 20e6
    values = load_file(files[1]).values()
    assert {value.dtype for value in values if value.is_floating_point()} == {torch.float16}
    assert json.loads(files[0].read_text())["preprocess_cfg"].keys() == {"mean", "std"}
    assert "What it is not for" in (COMPACT / "README.md").read_text()


@pytest.mark.parametrize("name", ["defocus_blur", "sensor_noise", "jpeg"])
def test_quality_falls_with_every_other_level(name: str, photographs: list[RgbImage]) -> None:
    scorer = Scorer(ScoreConfig(model="compact", crops="fast"))
    for photograph in photographs:
        worse = [
            DISTORTIONS[name](photograph, level, np.random.default_rng(0)) for level in (1, 3, 5)
        ]
        whole, *scores = qualities(scorer, [photograph, *worse])
        assert scores == sorted(scores, reverse=True), name
        # A trace of JPEG or noise can raise the score of a grainy picture.
        assert whole > scores[1], name


@pytest.mark.parametrize("number", [0, 1])
def test_prompts_of_ones_own_mean_what_they_say(number: int, photographs: list[RgbImage]) -> None:
    photograph = photographs[number]
    rng = np.random.default_rng(0)
    blurred = DISTORTIONS["gaussian_blur"](photograph, 4, rng)
    noisy = DISTORTIONS["sensor_noise"](photograph, 4, rng)

    def similarities(good: str, bad: str) -> list[float]:
        scorer = Scorer(ScoreConfig(model="compact", crops="fast", prompts=((good, bad),)))
        return [score.q_sim for score in scorer.score([photograph, blurred, noisy])]

    sharp = similarities("a photo in focus", "an unfocused photo")
    assert sharp[1] < min(sharp[0], sharp[2])
    clean = similarities("a noiseless shot", "a grainy shot")
    assert clean[2] < min(clean[0], clean[1])
