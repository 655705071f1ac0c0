"""`features` yields the features, cues and weights that scores are made of."""

from __future__ import annotations

import numpy as np
import pytest

from shardsift.config import ScoreConfig
from shardsift.records import ImageFeatures
from shardsift.scoring.scorer import Scorer
from tests.conftest import Golden
from tests.samples import picture


def test_golden_pictures_have_the_cues_and_weights_of_the_published_code(golden: Golden) -> None:
    scorer = Scorer(golden.config)
    images = [golden.image(row) for row in golden.rows]
    for row, found in zip(golden.rows, scorer.features(images), strict=True):
        assert found.features.shape == (row["crops"], scorer.encoder.text_P2D.shape[2])
        assert found.features.dtype == np.float32
        for cue in ("q_sim", "q_mag"):
            assert np.allclose(getattr(found, cue), row[f"crop_{cue}"], atol=1e-5)
        assert np.allclose(found.quality, row["crop_score"], atol=1e-5)
        assert found.w_sim.mean() == pytest.approx(row["w_sim"], abs=1e-5)


def cues_from(found: ImageFeatures, scorer: Scorer) -> tuple[np.ndarray, np.ndarray]:
    """Both cues by numpy, from features and prompts."""
    units = found.features / np.linalg.norm(found.features, axis=1, keepdims=True)
    text = scorer.encoder.text_P2D.numpy()
    logits = scorer.encoder.logit_scale * units @ (text[:, 0] - text[:, 1]).T
    magnitudes = np.abs(found.features)
    x = magnitudes / (magnitudes.std(axis=1, keepdims=True, ddof=1) + 1e-6)
    return (1 / (1 + np.exp(-logits))).mean(axis=1), (2 * (np.sqrt(x + 1) - 1)).mean(axis=1)


@pytest.mark.parametrize("crops", ["paper", "fast", "global"])
def test_features_are_those_that_are_scored(crops: str) -> None:
    images = [picture(500, 360, seed=1), picture(200, 150, seed=2), picture(224, 224, seed=3)]
    scorer = Scorer(ScoreConfig.model_validate({"model": "compact", "crops": crops}))
    scores = list(scorer.score(images))
    for score, found in zip(scores, scorer.features(images), strict=True):
        for cue in ("quality", "q_sim", "q_mag", "w_sim"):
            assert np.allclose(getattr(found, cue), getattr(score.per_crop, cue), atol=2e-6)
        q_sim, q_mag = cues_from(found, scorer)
        assert np.allclose(found.q_sim, q_sim, atol=1e-5)
        assert np.allclose(found.q_mag, q_mag, atol=1e-5)
        fused = found.w_sim * found.q_sim + (1 - found.w_sim) * found.q_mag
        assert np.allclose(found.quality, fused, atol=1e-6)
