"""Losses that need no opinion: rank, correlation, contrast with captions, and shape of the cues.

Shapes in names: N crops, F pooled features, T texts, A attributes, G groups, P pairs of groups,
S members of a series.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from shardsift.scoring.maclip import FusedScores

_TEMPERATURE: Final = 0.05
_GAP: Final = 0.04
"""Targets closer than this have no order."""


def ranking_loss(scores_N: Tensor, targets_N: Tensor) -> Tensor:
    """Rank all pairs of crops by logistic loss, whatever their content, if targets differ enough.

    Wider target gaps weigh more, in proportion up to 0.3.
    """
    wanted = targets_N[:, None] - targets_N[None, :]
    weight = torch.where(wanted > _GAP, wanted.clamp(max=0.3), torch.zeros_like(wanted))
    ahead = (scores_N[:, None] - scores_N[None, :]) / _TEMPERATURE
    return (weight * functional.softplus(-ahead)).sum() / weight.sum().clamp(min=1e-6)


def series_loss(scores_GS: Tensor, margins_GS: Tensor) -> Tensor:
    """Return a hinge over neighbours of a series: each must score `margins` above the next.

    Neighbours count alike, however small their margin, for any wrong order is one.

    `scores_GS` is groups x series from best to worst; `margins_GS` is groups x (series - 1).
    """
    drop = scores_GS[:, :-1] - scores_GS[:, 1:]
    return functional.relu(1.0 - drop / margins_GS).mean()


def tie_loss(scores_N: Tensor, group: int) -> Tensor:
    """Measure the difference between the scores of two photographs with equal distortions.

    Crops stand group by group, `group` crops each; a pair of groups shares its treatment.
    """
    scores_P2S = scores_N.view(-1, 2, group)
    apart_PS = scores_P2S[:, 0] - scores_P2S[:, 1]
    return functional.smooth_l1_loss(apart_PS, torch.zeros_like(apart_PS), beta=0.1)


def correlation_loss(scores_N: Tensor, targets_N: Tensor) -> Tensor:
    """Return one minus Pearson's correlation over the batch."""
    a, b = scores_N - scores_N.mean(), targets_N - targets_N.mean()
    return 1.0 - (a * b).sum() / (a.norm() * b.norm() + 1e-6)


def cue_loss(scores_N: Tensor, targets_N: Tensor) -> Tensor:
    """Measure the error of a cue in value, rank and correlation."""
    value = functional.smooth_l1_loss(scores_N, targets_N, beta=0.1)
    return 2.0 * value + ranking_loss(scores_N, targets_N) + correlation_loss(scores_N, targets_N)


def shaping_loss(scores: FusedScores) -> Tensor:
    """Keep the batch means of the cues together, so that the fusion hears both."""
    return (scores.q_sim.mean() - scores.q_mag.mean()).square()


def drift_loss(features_NF: Tensor, before_NF: Tensor) -> Tensor:
    """Measure the change of features since the start of training: 1 minus the mean cosine."""
    return 1.0 - functional.cosine_similarity(features_NF, before_NF).mean()


def attribute_loss(probabilities_NA: Tensor, targets_NA: Tensor) -> Tensor:
    """Return the cross-entropy of soft targets over attributes, less its floor: 0 is perfect."""
    p = probabilities_NA.clamp(1e-4, 1.0 - 1e-4)
    floor = functional.binary_cross_entropy(targets_NA, targets_NA)
    return functional.binary_cross_entropy(p, targets_NA) - floor


def contrastive_loss(logits_NT: Tensor, kinds_N: Tensor) -> Tensor:
    """Return symmetric InfoNCE with N = T; all texts of a crop's kind count as its positives.

    `kinds_N` numbers the distortions and severity of a crop, which is all that a caption describes.
    """
    same = (kinds_N[:, None] == kinds_N[None, :]).float()
    share = same / same.sum(dim=1, keepdim=True)
    by_image = -(share * functional.log_softmax(logits_NT, dim=1)).sum(dim=1).mean()
    by_text = -(share * functional.log_softmax(logits_NT.T, dim=1)).sum(dim=1).mean()
    floor = -(share * share.clamp(min=1e-6).log()).sum(dim=1).mean()
    return 0.5 * (by_image + by_text) - floor
