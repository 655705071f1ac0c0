"""MA-CLIP's cues of a batch in training, by the scorer's own arithmetic.

Shapes in names: N crops, P prompt pairs, D features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from shardsift.config import ScoreConfig
from shardsift.scoring.maclip import FusedScores, fuse, magnitude_cue

_PAPER: Final = ScoreConfig()


@dataclass(frozen=True, kw_only=True)
class Cues:
    """Scores of crops, and the probability of the good prompt of each pair, shape (N, P)."""

    scores: FusedScores
    pairs: Tensor


def pair_probabilities(features_ND: Tensor, text_P2D: Tensor, scale: Tensor) -> Tensor:
    """Return the probability of the good prompt of each pair, the first of it, shape (N, P).

    `scoring.maclip.similarity_cue` is its mean over the pairs.
    """
    units_ND = functional.normalize(features_ND, dim=-1)
    return torch.sigmoid(scale * (units_ND @ (text_P2D[:, 0] - text_P2D[:, 1]).T))


def cues(features_ND: Tensor, text_P2D: Tensor, scale: Tensor) -> Cues:
    """Compute both cues and their fusion with the paper's constants."""
    pairs_NP = pair_probabilities(features_ND, text_P2D, scale)
    scores = fuse(
        pairs_NP.mean(dim=-1),
        magnitude_cue(features_ND, _PAPER.box_cox_lambda),
        base_sim=_PAPER.base_sim,
        base_mag=_PAPER.base_mag,
        alpha=_PAPER.alpha,
    )
    return Cues(scores=scores, pairs=pairs_NP)
