"""The one order of all rows, so that a cut at any place keeps exactly so many.

A higher value goes first, of quality or of what a filter goes by; among equal ones a hash of shard
and index decides, which is the same on every machine and in every order of files.

Suffix: _N is the number of rows.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

pc: Any = pyarrow.compute  # which makes its functions when it is imported

Ranks = NDArray[np.uint64]
Hashes = NDArray[np.uint64]

LAST = 0xFFFF_FFFF_FFFF_FFFF
"""The rank of no value: above that of every number but the highest unsigned one."""

_WORD = 64


def rank(values_N: NDArray[Any]) -> Ranks:
    """Turn numbers into integers of the same order; -0.0 and 0.0 are equal, and none is NaN.

    What has fewer than 64 bits fills the upper ones.
    """
    bits = 8 * values_N.dtype.itemsize
    kind, unsigned = values_N.dtype.kind, np.dtype(f"u{values_N.dtype.itemsize}")
    sign = unsigned.type(1 << (bits - 1))
    if kind == "f":
        words_N = (values_N + values_N.dtype.type(0)).view(unsigned)
        words_N = np.where(words_N & sign, ~words_N, words_N | sign)
    else:
        words_N = values_N if kind == "u" else values_N.view(unsigned) ^ sign
    return words_N.astype(np.uint64) << np.uint64(_WORD - bits)


def unrank(ranks_N: Ranks, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the values of a type that have these ranks."""
    bits, unsigned = 8 * dtype.itemsize, np.dtype(f"u{dtype.itemsize}")
    sign = unsigned.type(1 << (bits - 1))
    words_N = (ranks_N >> np.uint64(_WORD - bits)).astype(unsigned)
    if dtype.kind == "f":
        words_N = np.where(words_N & sign, words_N ^ sign, ~words_N)
    elif dtype.kind == "i":
        words_N = words_N ^ sign
    return words_N.view(dtype)


def tie_hashes(shard: str, index_N: NDArray[np.int32]) -> Hashes:
    """Hash rows to decide between equal qualities; within a shard no two hashes are equal."""
    seed = int.from_bytes(hashlib.blake2b(shard.encode(), digest_size=8).digest(), "little")
    return mix(index_N.astype(np.uint64) + np.uint64(seed))


def hash_strings(column: Any, seed: int = 0) -> Hashes:
    """Hash an Arrow column of strings without nulls to 64 bits."""
    strings = column.cast(pa.string())
    if isinstance(strings, pa.ChunkedArray):
        strings = strings.combine_chunks()
    sizes_N = pc.binary_length(strings).to_numpy(zero_copy_only=False).astype(np.uint64)
    words = -(-int(sizes_N.max(initial=0)) // 8)
    hashes_N = mix(sizes_N + np.uint64(seed))
    if words:
        padded = pc.ascii_rpad(strings, width=8 * words, padding="\0")
        data_N = np.frombuffer(b"".join(padded.cast(pa.binary()).to_pylist()), np.uint64)
        for place, word_N in enumerate(data_N.reshape(-1, words).T):
            is_padding_N = sizes_N <= np.uint64(8 * place)  # of which others may have more
            hashes_N = np.where(is_padding_N, hashes_N, mix(hashes_N ^ word_N))
    return hashes_N


def combine(left_N: Hashes, right_N: Hashes) -> Hashes:
    """Hash pairs of hashes."""
    return mix(mix(left_N) ^ right_N)


def mix(hashes_N: Hashes) -> Hashes:
    """Mix bits one to one, by the finaliser of SplitMix64 (Steele, Lea and Flood, 2014)."""
    mixed_N = hashes_N + np.uint64(0x9E37_79B9_7F4A_7C15)
    mixed_N = (mixed_N ^ (mixed_N >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    mixed_N = (mixed_N ^ (mixed_N >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return mixed_N ^ (mixed_N >> np.uint64(31))
