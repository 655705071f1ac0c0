"""Equal values, equal bytes; and any DataSketches reader understands them."""

from __future__ import annotations

import numpy as np
import pytest
from datasketches import kll_floats_sketch  # pyright: ignore[reportAttributeAccessIssue]
from hypothesis import given, settings
from hypothesis import strategies as st

from shardsift.outputs.sketch import QuantileMerger, quantile_sketch


def values(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=count).astype(np.float32)


@given(st.integers(0, 5000))
@settings(deadline=None, max_examples=50)
def test_order_doesnt_change_a_byte(count: int) -> None:
    shuffled = np.random.default_rng(1).permutation(values(count))
    assert quantile_sketch(values(count)) == quantile_sketch(shuffled)


@pytest.mark.parametrize("count", [1, 7, 200, 201, 10_000, 123_457])
def test_datasketches_reads_it_within_its_own_error(count: int) -> None:
    data = values(count)
    sketch = kll_floats_sketch.deserialize(quantile_sketch(data))
    assert sketch.n == count
    assert (sketch.get_min_value(), sketch.get_max_value()) == (data.min(), data.max())
    for value in np.quantile(data, [0.01, 0.1, 0.5, 0.9, 0.99]):
        assert sketch.get_rank(float(value), True) == pytest.approx(
            (data <= value).mean(), abs=0.0133
        )


@pytest.mark.parametrize("count", [1, 2, 150, 201, 3000, 40_000])
def test_merged_quantiles_are_within_the_error_that_is_stated(count: int) -> None:
    shards = [values(count, seed) + seed for seed in range(8)]
    merger = QuantileMerger()
    for shard in shards:
        merger.add(quantile_sketch(shard))
    everything = np.concatenate(shards)
    assert merger.range == (everything.min(), everything.max())
    assert merger.rank_error < 0.006
    for rank in (0.01, 0.3, 0.5, 0.7, 0.99):
        (value,) = merger.quantiles([rank]) or []
        low, high = (everything < value).mean(), (everything <= value).mean()
        assert low - merger.rank_error <= rank <= high + merger.rank_error


def test_thousands_of_shards_are_thinned_and_the_stated_error_grows() -> None:
    merger = QuantileMerger()
    sketches = [quantile_sketch(values(6000, seed)) for seed in range(8)]
    for number in range(16_000):
        merger.add(sketches[number % 8])
    everything = np.concatenate([values(6000, seed) for seed in range(8)])
    (value,) = merger.quantiles([0.7]) or []
    assert (everything <= value).mean() == pytest.approx(0.7, abs=merger.rank_error)
    assert 0.002 < merger.rank_error < 0.006


def test_thinning_alone_has_an_error_too() -> None:
    merger = QuantileMerger()
    few = quantile_sketch(values(150))
    for _ in range(400):
        merger.add(few)
    assert merger.rank_error == 0
    for _ in range(400):
        merger.add(few)
    assert 0 < merger.rank_error < 1e-4


@pytest.mark.parametrize("filled", [5000, 201, 200, 2])
def test_sketches_of_datasketches_itself_are_merged_too(filled: int) -> None:
    sketch = kll_floats_sketch(200)
    sketch.update(values(filled))
    merger = QuantileMerger()
    merger.add(sketch.serialize())
    (median,) = merger.quantiles([0.5]) or []
    assert (values(filled) <= median).mean() == pytest.approx(0.5, abs=0.02)


def test_equal_sketches_give_equal_quantiles() -> None:
    def merged() -> list[float] | None:
        merger = QuantileMerger()
        for seed in range(30):
            merger.add(quantile_sketch(values(5000, seed)))
        return merger.quantiles([0.1, 0.5, 0.9])

    assert merged() == merged()


def test_nothing_has_no_quantiles() -> None:
    merger = QuantileMerger()
    merger.add(quantile_sketch(values(0)))
    assert merger.quantiles([0.5]) is None
