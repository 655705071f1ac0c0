"""Every statistic equals an independent calculation; intervals contain the true value."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize, stats

from shardsift.errors import InputError
from shardsift.evaluation.statistics import Logistic, fit_logistic, measure_agreement

Values = NDArray[np.float64]


def opinions_of(predictions: Values, noise: float = 0.2, seed: int = 1) -> Values:
    """Make opinions on predictions: an S-curve, and noise."""
    mood = np.random.default_rng(seed).normal(0, noise, len(predictions))
    return 1 + 4 / (1 + np.exp(-9 * (predictions - 0.5))) + mood


@pytest.fixture(name="predictions")
def some_predictions() -> Values:
    return np.random.default_rng(0).uniform(0.1, 0.9, 400)


def test_ranks_agree_with_their_definitions(predictions: Values) -> None:
    predictions = predictions.round(2)  # with ties
    opinions = opinions_of(predictions).round(1)
    agreement = measure_agreement(predictions, opinions)
    ranks = [stats.rankdata(values) for values in (predictions, opinions)]
    assert agreement.srcc.value == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=1e-12)
    # tau-b: pairs in order less pairs in disorder, over those that aren't tied
    signs = [
        (np.sign(a - c), np.sign(b - d))
        for (a, b), (c, d) in combinations(zip(predictions, opinions, strict=True), 2)
    ]
    x, y = np.array(signs).T
    tau = (x * y).sum() / math.sqrt((x != 0).sum() * (y != 0).sum())
    assert agreement.krcc.value == pytest.approx(tau, abs=1e-12)


def test_plcc_and_rmse_agree_with_an_independent_fit(predictions: Values) -> None:
    opinions = opinions_of(predictions)
    agreement = measure_agreement(predictions, opinions)

    def curve(x: Values, b1: float, b2: float, b3: float, b4: float, b5: float) -> Values:
        return b1 * (0.5 - 1 / (1 + np.exp(b2 * (x - b3)))) + b4 * x + b5

    # another optimiser, from many starting points, on the scores as they are
    def squares(betas: Values) -> float:
        return float(np.sum((curve(predictions, *betas) - opinions) ** 2))

    found = cast(Any, optimize.differential_evolution)(
        squares, [(-10, 10), (-30, 30), (0, 1), (-10, 10), (-10, 10)], seed=0, tol=1e-12
    )
    fitted = curve(predictions, *found.x)
    assert agreement.plcc.value == pytest.approx(stats.pearsonr(fitted, opinions)[0], abs=1e-6)
    assert agreement.rmse.value == pytest.approx(math.sqrt(found.fun / 400), abs=1e-6)
    assert agreement.plcc_raw.value == pytest.approx(
        stats.pearsonr(predictions, opinions)[0], abs=1e-12
    )


def test_the_fit_is_blind_to_the_scale_of_predictions(predictions: Values) -> None:
    opinions = opinions_of(predictions)
    here, there = (measure_agreement(x, opinions) for x in (predictions, 1e5 * predictions - 7))
    assert here.plcc.value == pytest.approx(there.plcc.value, abs=1e-6)
    assert here.rmse.value == pytest.approx(there.rmse.value, abs=1e-6)


def test_a_flipped_sign_shows_in_the_raw_plcc(predictions: Values) -> None:
    agreement = measure_agreement(-predictions, opinions_of(predictions))
    assert agreement.plcc.value > 0.95
    assert agreement.plcc_raw.value < -0.9
    assert agreement.srcc.value < -0.9


def test_straight_lines_are_fitted_too(predictions: Values) -> None:
    curve = fit_logistic(predictions, 3 * predictions + 1)
    assert np.allclose(curve(predictions), 3 * predictions + 1, atol=1e-3)
    assert isinstance(curve, Logistic)


def test_intervals_hold_the_value_and_are_repeatable(predictions: Values) -> None:
    opinions = opinions_of(predictions, noise=1.0)
    few = [measure_agreement(predictions, opinions, resamples=10) for _ in range(2)]
    assert few[0] == few[1]
    first = measure_agreement(predictions, opinions, resamples=200)
    for estimate in (first.srcc, first.krcc, first.plcc, first.rmse, first.plcc_raw):
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.low < estimate.value < estimate.high
    # for r = 0.86 and 400 pairs Fisher's interval is about ± 0.026
    low, high = first.plcc_raw.low, first.plcc_raw.high
    expected = stats.pearsonr(predictions, opinions).confidence_interval(0.95)
    assert low == pytest.approx(expected.low, abs=0.015)
    assert high == pytest.approx(expected.high, abs=0.015)


def test_predictions_that_are_no_numbers_are_left_out(predictions: Values) -> None:
    opinions = opinions_of(predictions)
    broken = predictions.copy()
    broken[:3] = np.nan
    agreement = measure_agreement(broken, opinions)
    assert agreement.images == 397
    assert agreement == measure_agreement(predictions[3:], opinions[3:])


@pytest.mark.parametrize("count", [0, 7])
def test_too_few_images_are_refused(count: int) -> None:
    with pytest.raises(InputError, match="too few"):
        measure_agreement(np.arange(count), np.arange(count))


def test_constant_predictions_are_refused() -> None:
    with pytest.raises(InputError, match="equal"):
        measure_agreement(np.ones(20), np.arange(20))
