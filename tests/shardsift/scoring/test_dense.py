"""Pictures share calls of the encoder, and no score depends on which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from shardsift.config import ScoreConfig
from shardsift.records import Embedding
from shardsift.scoring import dense as module
from shardsift.scoring.batch import Batch, Fetch, Scores, fetch_later
from shardsift.scoring.dense import DenseQueue
from shardsift.scoring.encoder import Encoder

SIZES = [(224, 480), (100, 40), (352, 352), (224, 224), (300, 480), (224, 500), (1250, 230)]
"""Of 2, 0, 4, 1, 2, 3 and 9 patches; the last one in two blocks."""

Image = tuple[Tensor, Tensor]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(ScoreConfig(model="compact", crops="dense"), "cpu")


@pytest.fixture(scope="module")
def images() -> list[Image]:
    """Each with a whole view, which is made up, too."""
    generator = torch.Generator().manual_seed(0)

    def noise(height: int, width: int) -> Tensor:
        return torch.randint(0, 256, (height, width, 3), generator=generator).float()

    return [(noise(*size), noise(224, 224)) for size in SIZES]


def four_values(features_ND: Tensor) -> Fetch:
    """In place of cues: the first features; all of them are kept."""
    return fetch_later(Batch(features_ND[:, :4].T.contiguous(), features_ND.half()))


def score(encoder: Encoder, images: Sequence[Image], crops: int) -> list[tuple[Scores, Embedding]]:
    queue = DenseQueue(encoder, four_values, 4, crops)
    found: list[tuple[Scores, Embedding]] = []
    for image_HW3, whole_SS3 in images:
        queue.add(image_HW3, whole_SS3)
        found += queue.done(running=1)
    queue.flush()
    return [*found, *queue.done(running=0)]


def test_every_picture_has_the_features_of_its_patches_and_its_whole(
    encoder: Encoder, images: list[Image]
) -> None:
    for crops in (1, 4, 16):
        for (image_HW3, whole_SS3), (found, embedding_D) in zip(
            images, score(encoder, images, crops), strict=True
        ):
            whole_1D = encoder.encode(whole_SS3.permute(2, 0, 1)[None])
            expected_MD = torch.cat([encoder.encode_patches(image_HW3), whole_1D])
            np.testing.assert_allclose(found, expected_MD[:, :4].T, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(embedding_D, whole_1D[0], rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize(("crops", "tolerance"), [(1, 0.0), (8, 1e-6)])
def test_scores_are_the_same_in_any_company(
    crops: int, tolerance: float, encoder: Encoder, images: list[Image]
) -> None:
    """To the bit on CPUs, where blocks go alone: a row's place in a product shows in its bits."""
    together = score(encoder, images * 2, crops)
    backwards = score(encoder, images[::-1], crops)[::-1]
    for number, image in enumerate(images):
        ((alone, _),) = score(encoder, [image], crops)
        for found, _ in (*together[number :: len(images)], backwards[number]):
            np.testing.assert_allclose(found, alone, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("limit", "most"), [("_MOST_OPEN", 3), ("_MOST_BYTES", 500_000)])
def test_no_picture_waits_for_ever(
    limit: str,
    most: int,
    encoder: Encoder,
    images: list[Image],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, limit, most)
    queue = DenseQueue(encoder, four_values, 4, 8)
    for image in images[:4]:
        queue.add(*image)
    assert len(list(queue.done(running=0))) == 4
