"""Batches as a function of seed and step."""

from __future__ import annotations

import numpy as np
import torch

from jobs.training.batches import Batch, GradedCrops, load_batches
from jobs.training.groups import GROUP, draw_plans
from tests.samples import encoded

GROUPS = 2


def graded(seed: int = 0) -> GradedCrops:
    photos = [encoded(width=300, height=200, seed=number) for number in range(4)]
    return GradedCrops(photos, groups=GROUPS, side=64, seed=seed)


def same(a: Batch, b: Batch) -> bool:
    pairs = [(getattr(a, name), getattr(b, name)) for name in vars(a)]
    return all(torch.equal(x, y) if isinstance(x, torch.Tensor) else bool(x == y) for x, y in pairs)


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    one, two = graded(), graded()
    two[0]  # earlier batches don't matter
    assert same(one[1], two[1])
    assert not same(one[1], one[0])
    assert not same(one[1], graded(seed=1)[1])


def test_shapes() -> None:
    crops = GROUPS * GROUP
    batch = graded()[2]
    assert batch.crops.shape == (crops, 3, 64, 64)
    assert batch.crops.dtype == torch.uint8
    assert batch.margins.shape == (GROUPS, GROUP - 2)
    assert len(batch.captions) == len(batch.kinds) == crops


def test_targets_fall_along_a_series() -> None:
    batch = graded()[0]
    series = batch.quality.view(GROUPS, GROUP)[:, : GROUP - 1].numpy()
    assert np.all(np.diff(series, axis=1) < 0)
    assert np.all((series > 0) & (series < 1))
    assert torch.all(batch.margins > 0)


def test_a_grainy_photograph_is_grainy_at_every_level() -> None:
    groups = [draw_plans(np.random.default_rng(seed)) for seed in range(40)]
    assert 0 < sum(bool(start) for start, *_ in groups) < len(groups)
    for start, *series, _ in groups:
        assert all(plan[:-1] == start for plan in series)


def test_pairs_of_photographs_are_treated_alike() -> None:
    dataset = GradedCrops(
        [encoded(width=300, height=200, seed=number) for number in range(4)],
        groups=4,
        side=64,
        seed=0,
    )
    batch = dataset[0]
    for given in (batch.kinds, batch.quality):
        given_GS = given.view(4, GROUP)
        assert torch.equal(given_GS[0], given_GS[1])
        assert torch.equal(given_GS[2], given_GS[3])
    assert not torch.equal(batch.kinds[:GROUP], batch.kinds[2 * GROUP : 3 * GROUP])


def test_the_loader_starts_at_any_step() -> None:
    dataset = graded()
    first, second = load_batches(dataset, 1, 3, workers=0)
    assert same(first, dataset[1])
    assert same(second, dataset[2])
