"""A cut keeps exactly as many rows as were asked for, however few are held at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shardsift.annotations.ordering import rank, tie_hashes
from shardsift.curation.selection import Keys, select, select_near

QUALITIES = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from([0.0, 0.25, 0.2500001, 0.5, -1.0, 7.5])),
    min_size=1,
    max_size=60,
)


def keys_of(rows: list[tuple[int, float]], shard: str = "a.tar") -> Keys:
    buckets, qualities = zip(*rows, strict=True)
    return Keys(
        bucket_N=np.array(buckets, np.int32),
        rank_N=rank(np.array(qualities, np.float32)),
        tie_N=tie_hashes(shard, np.arange(len(rows), dtype=np.int32)),
    )


def best(keys: Keys, bucket: int, count: int) -> set[int]:
    """Places of the best rows of a bucket, by sorting all of them."""
    (own,) = np.nonzero(keys.bucket_N == bucket)
    order = sorted(own, key=lambda n: (keys.rank_N[n], keys.tie_N[n]), reverse=True)
    return {int(place) for place in order[:count]}


def thirds(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.round(sizes / 3).astype(np.int64)


@pytest.mark.parametrize("gathered", [0, 3, 1000])
@given(QUALITIES)
@settings(max_examples=30)
def test_it_is_what_sorting_everything_gives(gathered: int, rows: list[tuple[int, float]]) -> None:
    keys = keys_of(rows)
    found = select(lambda: [keys], 3, thirds, at_most=len(rows), gathered=gathered)
    sizes = np.bincount(keys.bucket_N, minlength=3)
    assert found.sizes_B.tolist() == sizes.tolist()
    assert found.kept_B.tolist() == thirds(sizes).tolist()
    expected = set[int]().union(*(best(keys, b, n) for b, n in enumerate(thirds(sizes))))
    assert set(np.flatnonzero(found.cuts.keep(keys)).tolist()) == expected


@given(QUALITIES, st.sampled_from([-2.0, 0.25, 0.3]), st.sampled_from([0.25, 0.3, 0.5, 8.0]))
def test_one_pass_is_enough_where_the_cut_is_known_to_be_near(
    rows: list[tuple[int, float]], low: float, high: float
) -> None:
    keys = keys_of([(0, quality) for _, quality in rows])
    low_rank, high_rank = rank(np.array([low, high], np.float32)).tolist()
    wanted = int(thirds(np.array([len(rows)]))[0])
    found = select_near([keys], thirds, low_rank, high_rank)
    qualities = sorted((quality for _, quality in rows), reverse=True)
    if wanted and low <= qualities[wanted - 1] <= high:
        assert found is not None
        assert set(np.flatnonzero(found.cuts.keep(keys)).tolist()) == best(keys, 0, wanted)
        assert (found.sizes_B.tolist(), found.kept_B.tolist()) == ([len(rows)], [wanted])
    else:
        assert found is None


def test_too_many_rows_near_the_cut_are_not_gathered() -> None:
    keys = keys_of([(0, 0.5)] * 20)
    middle = int(rank(np.array([0.5], np.float32))[0])
    assert select_near([keys], thirds, middle, middle, gathered=19) is None
    assert select_near([keys], thirds, middle, middle, gathered=20) is not None


@given(QUALITIES, st.randoms(use_true_random=False))
@settings(max_examples=15)
def test_the_order_of_files_does_not_matter(rows: list[tuple[int, float]], dice: object) -> None:
    files = [keys_of(rows, f"{number}.tar") for number in range(4)]
    shuffled = list(files)
    dice.shuffle(shuffled)  # pyright: ignore[reportAttributeAccessIssue]
    one = select(lambda: files, 3, thirds, at_most=4 * len(rows), gathered=5).cuts
    other = select(lambda: shuffled, 3, thirds, at_most=4 * len(rows), gathered=5).cuts
    assert one.rank_B.tolist() == other.rank_B.tolist()
    assert one.tie_B.tolist() == other.tie_B.tolist()


def test_a_million_equal_rows_are_told_apart_though_few_are_held() -> None:
    keys = Keys(
        bucket_N=np.zeros(10**6, np.int32),
        rank_N=rank(np.full(10**6, 0.5, np.float32)),
        tie_N=tie_hashes("a.tar", np.arange(10**6, dtype=np.int32)),
    )
    passes = 0

    def read() -> list[Keys]:
        nonlocal passes
        passes += 1
        return [keys]

    found = select(read, 1, lambda sizes: sizes // 3, at_most=10**6, gathered=1000, rank_bits=32)
    assert found.cuts.keep(keys).sum() == 333_333
    assert passes < 5
