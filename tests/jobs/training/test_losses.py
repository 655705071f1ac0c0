"""Rewards of the losses."""

from __future__ import annotations

import torch

from jobs.training.losses import drift_loss, series_loss, tie_loss


def test_a_tie_costs_nothing_where_two_photographs_score_alike() -> None:
    alike = torch.tensor([0.9, 0.5, 0.9, 0.5])  # two groups of two, a pair of photographs
    assert tie_loss(alike, group=2) == 0
    apart = tie_loss(torch.tensor([0.9, 0.5, 0.9, 0.1]), group=2)
    further = tie_loss(torch.tensor([0.9, 0.5, 0.5, 0.1]), group=2)
    assert 0 < apart < further


def test_a_series_costs_nothing_once_it_falls_by_its_margins() -> None:
    margins = torch.tensor([[0.1, 0.1]])
    assert series_loss(torch.tensor([[0.9, 0.7, 0.5]]), margins) == 0
    assert series_loss(torch.tensor([[0.9, 0.85, 0.5]]), margins) > 0


def test_drift_costs_nothing_but_for_turned_features() -> None:
    before = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert drift_loss(3.0 * before, before) == 0
    turned = drift_loss(torch.tensor([[1.0, 0.2], [0.0, 2.0]]), before)
    further = drift_loss(torch.tensor([[1.0, 1.0], [0.0, 2.0]]), before)
    assert 0 < turned < further
