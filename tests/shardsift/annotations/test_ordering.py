"""The order of rows: quality first, and then a hash that is the same everywhere."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardsift.annotations.ordering import combine, hash_strings, rank, tie_hashes, unrank

VALUES = {
    "float16": st.floats(width=16, allow_nan=False),
    "float32": st.floats(width=32, allow_nan=False),
    "float64": st.floats(allow_nan=False),
    "int8": st.integers(-(2**7), 2**7 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint8": st.integers(0, 2**8 - 1),
    "uint64": st.integers(0, 2**64 - 1),
}


@pytest.mark.parametrize("dtype", VALUES)
@given(st.data())
def test_ranks_are_ordered_as_the_values_are(dtype: str, data: st.DataObject) -> None:
    values = np.array(data.draw(st.lists(VALUES[dtype], min_size=2, max_size=2)), dtype)
    low, high = rank(values)
    assert (low < high, low == high) == (values[0] < values[1], values[0] == values[1])
    assert np.array_equal(unrank(rank(values), values.dtype), values)


def splitmix64(state: int) -> int:
    """The published generator's step, in plain integers."""
    mask = 2**64 - 1
    mixed = (state + 0x9E3779B97F4A7C15) & mask
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & mask
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
    return mixed ^ (mixed >> 31)


def test_ties_are_decided_by_splitmix64_of_shard_and_index() -> None:
    digest = hashlib.blake2b(b"a/00000.tar", digest_size=8).digest()
    expected = [splitmix64((int.from_bytes(digest, "little") + n) % 2**64) for n in range(3)]
    hashes = tie_hashes("a/00000.tar", np.arange(3, dtype=np.int32))
    assert hashes.tolist() == expected
    assert expected[0] == 2076428028734483621, "a file written yesterday must be cut alike"


@given(st.lists(st.text(max_size=20), min_size=2, max_size=6))
def test_strings_have_hashes_of_their_own_whatever_stands_beside_them(words: list[str]) -> None:
    hashes = hash_strings(pa.array(words))
    assert len(set(hashes.tolist())) == len(set(words))
    for word, together in zip(words, hashes, strict=True):
        assert hash_strings(pa.chunked_array([[word]]))[0] == together


def test_zeros_in_a_string_count() -> None:
    words = ["a" * 8 + "\0" * 8, "\0" * 8 + "a" * 8, "\0" * 16, "\0" * 8]
    assert len(set(hash_strings(pa.array(words)).tolist())) == len(words)


def test_pairs_are_not_commutative() -> None:
    one, two = hash_strings(pa.array(["a"])), hash_strings(pa.array(["b"]))
    assert combine(one, two) != combine(two, one)
