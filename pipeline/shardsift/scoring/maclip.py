"""The arithmetic of MA-CLIP on features: no model, no images.

Liao et al., "Beyond Cosine Similarity: Magnitude-Aware CLIP for No-Reference Image Quality
Assessment" (arXiv 2511.09948, AAAI 2026), as their published code does it.

Shapes in names: N crops, D feature values, P prompt pairs, Q those of A attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_EPSILON = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class FusedScores:
    """MA-CLIP of each crop: float32, shape (N,)."""

    quality: Tensor
    q_sim: Tensor
    q_mag: Tensor
    w_sim: Tensor


def similarity_cue(features_ND: Tensor, text_P2D: Tensor, logit_scale: float) -> Tensor:
    """Compute CLIP-IQA's cue: the mean probability of the good prompts, in 0..1, shape (N,).

    `text_P2D` holds unit vectors, the good prompt of a pair first; `logit_scale` is the factor on
    the cosine (the exponential of CLIP's parameter).
    """
    return _probabilities(features_ND, text_P2D, logit_scale).mean(dim=-1)


def attribute_values(
    features_ND: Tensor, text_Q2D: Tensor, pairs_A: Sequence[int], logit_scale: float
) -> list[Tensor]:
    """Compute A attributes, each as `similarity_cue` does it, in 0..1, shape (N,).

    `text_Q2D` holds the prompts of all attributes, `pairs_A` the number of pairs of each.
    """
    found_NQ = _probabilities(features_ND, text_Q2D, logit_scale)
    return [own_NP.mean(dim=-1) for own_NP in found_NQ.split(list(pairs_A), dim=-1)]


def _probabilities(features_ND: Tensor, text_P2D: Tensor, logit_scale: float) -> Tensor:
    """Compute the probability of the first prompt of each pair, shape (N, P)."""
    units_ND = features_ND / features_ND.norm(dim=-1, keepdim=True)
    logits_NP2 = logit_scale * torch.einsum("nd,ptd->npt", units_ND, text_P2D)
    return logits_NP2.softmax(dim=-1)[..., 0]


def magnitude_cue(features_ND: Tensor, box_cox_lambda: float) -> Tensor:
    """Compute the mean Box-Cox-transformed magnitude of the features, at least 0, shape (N,).

    x = |f| / (std(|f|) + 1e-6) with the unbiased standard deviation over D; then
    ((x + 1)^λ - 1) / λ, or log(x + 1) for λ = 0.
    """
    magnitude_ND = features_ND.abs()
    deviation_N1 = magnitude_ND.std(dim=-1, keepdim=True)
    return box_cox(magnitude_ND / (deviation_N1 + _EPSILON), box_cox_lambda).mean(dim=-1)


def box_cox(x_ND: Tensor, box_cox_lambda: float) -> Tensor:
    """Transform values of at least 0: ((x + 1)^λ - 1) / λ, or log(x + 1) for λ = 0."""
    if box_cox_lambda == 0:
        return x_ND.log1p()
    return ((x_ND + 1) ** box_cox_lambda - 1) / box_cox_lambda


def fuse(
    q_sim_N: Tensor, q_mag_N: Tensor, *, base_sim: float, base_mag: float, alpha: float
) -> FusedScores:
    """Weight the cues by softmax(base_sim + Δ, base_mag - Δ), with Δ = α (q_sim - q_mag)."""
    shift_N = alpha * (q_sim_N - q_mag_N)
    weights_N2 = torch.stack([base_sim + shift_N, base_mag - shift_N], dim=-1).softmax(dim=-1)
    w_sim_N, w_mag_N = weights_N2.unbind(dim=-1)
    quality_N = w_sim_N * q_sim_N + w_mag_N * q_mag_N
    return FusedScores(quality=quality_N, q_sim=q_sim_N, q_mag=q_mag_N, w_sim=w_sim_N)
