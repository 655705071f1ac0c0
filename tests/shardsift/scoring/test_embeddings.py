"""An embedding is the feature of the whole view, before normalisation; scores don't change."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from shardsift.config import ScoreConfig
from shardsift.records import RgbImage
from shardsift.scoring.scorer import Scorer
from tests.conftest import Golden
from tests.shardsift.scoring.test_attributes import NORMALISATION, open_clip_of, pictures


def test_golden_pictures_have_what_open_clip_gives(golden: Golden) -> None:
    """By open_clip itself, in float64, to the eleven significant bits of float16, rounded."""
    images = [golden.image(row) for row in golden.rows]
    model = open_clip_of(golden)
    for image, score in zip(
        images, Scorer(golden.config, embeddings=True).score(images), strict=True
    ):
        with torch.inference_mode():
            expected_D = model.encode_image(whole_view(image))[0].numpy()
        assert score.embedding.dtype == np.float16
        scale = np.abs(expected_D).max()
        np.testing.assert_allclose(score.embedding, expected_D, rtol=0.0006, atol=2e-5 * scale)


def whole_view(image_HW3: RgbImage) -> torch.Tensor:
    mean_311, std_311 = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in NORMALISATION)
    image_3HW = torch.from_numpy(image_HW3.copy()).double().permute(2, 0, 1) / 255
    whole = functional.interpolate(image_3HW[None], (224, 224), mode="bilinear")
    return (whole - mean_311) / std_311


@pytest.mark.parametrize(("crops", "batch_size"), [("paper", 8), ("fast", 8), ("global", None)])
def test_scores_are_the_same_to_the_bit_with_and_without(
    crops: str, batch_size: int | None
) -> None:
    """Independent of the plan, and of the batches of a picture's views."""
    config = ScoreConfig.model_validate({"model": "compact", "crops": crops})
    plain = Scorer(config, batch_size=batch_size)
    keeping = Scorer(config, embeddings=True, batch_size=batch_size)
    alone = Scorer(ScoreConfig(model="compact", crops="global"), embeddings=True)
    assert keeping.fingerprint == plain.fingerprint
    assert (plain.embedding_values, keeping.embedding_values) == (0, 256)
    images = pictures(5)
    for one, two, whole in zip(
        plain.score(images), keeping.score(images), alone.score(images), strict=True
    ):
        for cue in ("quality", "q_sim", "q_mag", "w_sim"):
            np.testing.assert_array_equal(getattr(one, cue), getattr(two, cue))
        assert one.embedding.size == 0
        np.testing.assert_allclose(two.embedding, whole.embedding, rtol=2e-3, atol=1e-3)


def test_a_batch_of_ray_data_gets_a_column_of_them() -> None:
    scorer = Scorer(ScoreConfig(model="compact", crops="global"), embeddings=True)
    batch = scorer({"image": pictures(2)})
    assert batch["embedding"].shape == (2, scorer.embedding_values)
    [_, second] = scorer.score(pictures(2))
    np.testing.assert_array_equal(batch["embedding"][1], second.embedding)
