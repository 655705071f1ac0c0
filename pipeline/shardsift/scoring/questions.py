"""Attributes of embeddings that were kept: no image, and no image tower.

Shapes in names: N embeddings, D values of each, Q prompt pairs of A attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from shardsift.config import Attributes, ScoreConfig
from shardsift.measures import MACLIP, AttributesMeasure
from shardsift.scoring.clip import ClipModel, load_clip, tower_digest

_AT_A_TIME = 1024
"""Embeddings whose float32 copies fit a core's cache."""


class Questions(AttributesMeasure):
    """Attributes, ready to be asked of embeddings; can be pickled.

    Attributes:
        towards_QD: from the second prompt of each pair to the first, times the factor on cosines.
        fingerprint: of scores by the model whose text tower has read the prompts; the digest of
            another tower.
    """

    def __init__(
        self, attributes: Attributes, towards_QD: Tensor, fingerprint: str, tower: str = MACLIP
    ) -> None:
        super().__init__(attributes, fingerprint, of="embeddings", tower=tower)
        self.towards_QD = towards_QD
        self.fingerprint = fingerprint

    @torch.inference_mode()
    def measure(self, batch: Any) -> Sequence[Any]:
        """Compute the attributes of embeddings, shape (N, D), 0..1, shape (A, N); NaN for zeros.

        The softmax over two logits is the sigmoid of their difference, so a pair takes one product.
        """
        pairs_A = [len(pairs) for pairs in self.attributes.values()]
        found: list[Tensor] = []
        for part_ND in torch.from_numpy(batch).split(_AT_A_TIME):
            features_ND = part_ND.float()
            logits_QN = self.towards_QD @ features_ND.T / features_ND.norm(dim=1)
            parts = logits_QN.sigmoid().split(pairs_A)
            found.append(torch.stack([own_PN.mean(dim=0) for own_PN in parts]))
        return list(torch.cat(found, dim=1).numpy())


def load_questions(config: ScoreConfig, attributes: Attributes) -> Questions:
    """Encode attributes by the text tower of a model.

    Raises:
        ModelError: if the model can't be had.
        ConfigError: if a prompt is longer than it reads.
    """
    model = load_clip(config, attributes)
    assert model.text_Q2D is not None, "something is asked"
    fingerprint = config.fingerprint(model.digest)
    return _questions(model, attributes, model.text_Q2D, fingerprint, MACLIP)


def questions_of(clip: ClipModel, attributes: Attributes, tower: str) -> Questions:
    """Encode attributes by a standard CLIP, which is called `tower`. Raises as `load_questions`."""
    assert clip.text is not None, "it is a standard CLIP"
    text_Q2D = clip.text.encode_each(attributes)
    return _questions(clip, attributes, text_Q2D, tower_digest(clip), tower)


def _questions(
    model: ClipModel, attributes: Attributes, text_Q2D: Tensor, fingerprint: str, tower: str
) -> Questions:
    first_QD, second_QD = text_Q2D.unbind(dim=1)
    return Questions(attributes, model.logit_scale * (first_QD - second_QD), fingerprint, tower)
