"""The formulas, against values worked out by hand or by another library."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from shardsift.scoring.maclip import fuse, magnitude_cue, similarity_cue


def test_similarity_is_the_softmax_over_each_pair() -> None:
    features_ND = torch.tensor([[3.0, 4.0]])
    text_P2D = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]])
    good, bad = math.exp(10 * 0.6), math.exp(10 * 0.8)
    expected = (good / (good + bad) + bad / (good + bad)) / 2
    q_sim = similarity_cue(features_ND, text_P2D, logit_scale=10)
    assert q_sim.item() == pytest.approx(expected, abs=1e-6)


def test_similarity_ignores_the_length_of_features() -> None:
    features_ND, text_P2D = torch.randn(3, 8), torch.randn(5, 2, 8)
    torch.testing.assert_close(
        similarity_cue(features_ND, text_P2D, 100), similarity_cue(7 * features_ND, text_P2D, 100)
    )


@pytest.mark.parametrize("box_cox_lambda", [-1.0, 0.0, 0.5, 1.0, 2.0])
def test_magnitude_is_scipys_box_cox_of_x_plus_one(box_cox_lambda: float) -> None:
    features_ND = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    magnitude = features_ND.abs().double()
    x = magnitude / (magnitude.std(dim=1, keepdim=True) + 1e-6)
    expected = [stats.boxcox(row.numpy() + 1, lmbda=box_cox_lambda).mean() for row in x]
    torch.testing.assert_close(
        magnitude_cue(features_ND, box_cox_lambda).double(),
        torch.tensor(expected),
        atol=1e-5,
        rtol=0,
    )


def test_fusion_trusts_the_surer_cue() -> None:
    scores = fuse(torch.tensor([0.9]), torch.tensor([0.4]), base_sim=1.0, base_mag=0.6, alpha=1.0)
    w_sim = 1 / (1 + math.exp(-(0.4 + 2 * 0.5)))
    assert scores.w_sim.item() == pytest.approx(w_sim, abs=1e-6)
    assert scores.quality.item() == pytest.approx(w_sim * 0.9 + (1 - w_sim) * 0.4, abs=1e-6)


@given(st.floats(0, 1), st.floats(0, 3), st.floats(0, 5))
def test_quality_lies_between_the_cues(q_sim: float, q_mag: float, alpha: float) -> None:
    cues = torch.tensor([q_sim]), torch.tensor([q_mag])
    quality = fuse(*cues, base_sim=1.0, base_mag=0.6, alpha=alpha).quality.item()
    assert min(q_sim, q_mag) - 1e-6 <= quality <= max(q_sim, q_mag) + 1e-6
