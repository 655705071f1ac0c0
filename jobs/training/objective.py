"""The loss of a training step.

Shapes in names: N crops, G groups, T texts, P the paper's prompt pairs, Q the batch's prompt pairs,
F pooled features, D features.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from jobs.training import losses
from jobs.training.batches import Batch
from jobs.training.cues import Cues, cues, pair_probabilities
from jobs.training.groups import GROUP
from jobs.training.model import Clip, pooled_features, projected_features, text_features
from jobs.training.words import ATTRIBUTES, PAIR_ATTRIBUTES
from shardsift.config import PAPER_PROMPT_PAIRS

Prompts = tuple[tuple[str, str], ...]

_PAIR_COLUMNS: Final = [ATTRIBUTES.index(name) for name in PAIR_ATTRIBUTES]


def batch_losses(model: Clip, start: Clip, batch: Batch) -> dict[str, Tensor]:
    """Return the terms of the loss by name, weighted; their sum is minimised.

    `start` is the model before training.
    """
    pooled_NF = pooled_features(model, batch.crops)
    features_ND = projected_features(model, pooled_NF)
    with torch.no_grad():
        before_GF = pooled_features(start, batch.crops[::GROUP])
    fixed = [text for pair in PAPER_PROMPT_PAIRS for text in pair]
    spoken = [text for pair in batch.prompts for text in pair]
    text_TD = text_features(model, fixed + spoken + batch.captions)
    fixed_TD, spoken_TD, captions_ND = text_TD.split([len(fixed), len(spoken), len(batch.captions)])
    scale = model.logit_scale.exp()
    result = cues(features_ND, in_pairs(fixed_TD), scale)
    asked_NQ = pair_probabilities(features_ND, in_pairs(spoken_TD), scale)
    answers_NQ = batch.attributes.repeat(1, len(batch.prompts) // len(ATTRIBUTES))
    # A pair asks about one attribute, yet q_sim, the mean of five, must tell quality as such.
    wanted_NP = 0.5 * batch.attributes[:, _PAIR_COLUMNS] + 0.5 * batch.quality[:, None]
    logits_NN = scale * functional.normalize(features_ND, dim=-1) @ captions_ND.T
    return {
        **_cue_losses(result, batch),
        "drift": 3.0 * losses.drift_loss(pooled_NF[::GROUP], before_GF),
        "pairs": 0.5 * losses.attribute_loss(result.pairs, wanted_NP),
        "attributes": 2.0 * losses.attribute_loss(asked_NQ, answers_NQ),
        "captions": 0.4 * losses.contrastive_loss(logits_NN, batch.kinds),
    }


def in_pairs(text_TD: Tensor) -> Tensor:
    """Pair features of alternating good and bad prompts, shape (T, D), to shape (T/2, 2, D)."""
    return text_TD.view(-1, 2, text_TD.shape[1])


def _cue_losses(result: Cues, batch: Batch) -> dict[str, Tensor]:
    scores = result.scores

    def series(scores_N: Tensor) -> Tensor:
        return losses.series_loss(scores_N.view(-1, GROUP)[:, : GROUP - 1], batch.margins)

    return {
        "fused": 1.5 * losses.cue_loss(scores.quality, batch.quality),
        "similarity": 0.7 * losses.cue_loss(scores.q_sim, batch.quality),
        "magnitude": 0.7 * losses.cue_loss(scores.q_mag, batch.quality),
        "series": 2.0 * series(scores.quality)
        + 0.5 * series(scores.q_sim)
        + 0.5 * series(scores.q_mag),
        "ties": 1.0 * losses.tie_loss(scores.quality, GROUP),
        "shape": 1.0 * losses.shaping_loss(scores),
    }
