"""Equal values, equal bytes; and any DataSketches reader understands them."""

from __future__ import annotations

import numpy as np
import pytest
from datasketches import kll_floats_sketch  # pyright: ignore[reportAttributeAccessIssue]
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sketch import QuantileMerger, quantile_sketch


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


def test_merged_quantiles_are_those_of_all_shards() -> None:
    shards = [values(3000, seed) + seed for seed in range(8)]
    merger = QuantileMerger()
    for shard in shards:
        merger.add(quantile_sketch(shard))
    everything = np.concatenate(shards)
    (median,) = merger.quantiles([0.5]) or []
    assert (everything <= median).mean() == pytest.approx(0.5, abs=0.02)


def test_nothing_has_no_quantiles() -> None:
    merger = QuantileMerger()
    merger.add(quantile_sketch(values(0)))
    assert merger.quantiles([0.5]) is None
