"""The one order of all rows, so that a cut at any place keeps exactly so many.

A higher quality goes first; among equal ones a hash of shard and index decides, which is the same
on every machine and in every order of files.

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

Ranks = NDArray[np.uint32]
Hashes = NDArray[np.uint64]

LAST = 0xFFFF_FFFF
"""The rank of no quality: above that of every finite number."""

_SIGN = np.uint32(1 << 31)


def rank(quality_N: NDArray[np.float32]) -> Ranks:
    """Turn finite float32 values into integers of the same order; -0.0 and 0.0 are equal."""
    bits_N = (quality_N + np.float32(0)).view(np.uint32)
    return np.where(bits_N & _SIGN, ~bits_N, bits_N | _SIGN)


def unrank(ranks_N: Ranks) -> NDArray[np.float32]:
    """Return the values that have these ranks."""
    return np.where(ranks_N & _SIGN, ranks_N ^ _SIGN, ~ranks_N).view(np.float32)


def tie_hashes(shard: str, index_N: NDArray[np.int32]) -> Hashes:
    """Hash rows to decide between equal qualities; within a shard no two hashes are equal."""
    seed = int.from_bytes(hashlib.blake2b(shard.encode(), digest_size=8).digest(), "little")
    return _mix(index_N.astype(np.uint64) + np.uint64(seed))


def hash_strings(column: Any) -> Hashes:
    """Hash an Arrow column of strings without nulls to 64 bits."""
    strings = column.cast(pa.string())
    if isinstance(strings, pa.ChunkedArray):
        strings = strings.combine_chunks()
    sizes_N = pc.binary_length(strings).to_numpy(zero_copy_only=False).astype(np.uint64)
    words = -(-int(sizes_N.max(initial=0)) // 8)
    hashes_N = _mix(sizes_N)
    if words:
        padded = pc.ascii_rpad(strings, width=8 * words, padding="\0")
        data_N = np.frombuffer(b"".join(padded.cast(pa.binary()).to_pylist()), np.uint64)
        for place, word_N in enumerate(data_N.reshape(-1, words).T):
            is_padding_N = sizes_N <= np.uint64(8 * place)  # of which others may have more
            hashes_N = np.where(is_padding_N, hashes_N, _mix(hashes_N ^ word_N))
    return hashes_N


def combine(left_N: Hashes, right_N: Hashes) -> Hashes:
    """Hash pairs of hashes."""
    return _mix(_mix(left_N) ^ right_N)


def _mix(hashes_N: Hashes) -> Hashes:
    """Mix bits one to one, by the finaliser of SplitMix64 (Steele, Lea and Flood, 2014)."""
    mixed_N = hashes_N + np.uint64(0x9E37_79B9_7F4A_7C15)
    mixed_N = (mixed_N ^ (mixed_N >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    mixed_N = (mixed_N ^ (mixed_N >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return mixed_N ^ (mixed_N >> np.uint64(31))
