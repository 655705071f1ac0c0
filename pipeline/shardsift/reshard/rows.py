"""Which samples of a source shard are kept, where they lie, and how they were scored.

Annotations know where each image lies; the other files of its sample stand beside it. So a sample
lies between the end of the image before it and the beginning of the image behind it.

Suffixes: _R rows of a shard, _N those of them that are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from shardsift.reshard.headers import padded

pc: Any = pyarrow.compute  # which makes its functions when it is imported

CUES = ("quality", "q_sim", "q_mag")
"""Columns that are merged into the `.json` of a sample."""


@dataclass(slots=True)
class KeptRow:
    """A sample to copy: its place in the shard, and what is merged into its `.json`.

    `offset` is where its image lies; the sample lies between `begin` and `end`, which is behind
    the headers of the next image. `cues` are `"quality": 0.71, …`, as in JSON.
    """

    index: int
    key: str
    offset: int | None
    begin: int
    end: int
    cues: str


def kept_rows(table: Any, kept_N: NDArray[np.int32], size: int) -> list[KeptRow]:
    """Make the rows of the indices `kept_N`, from all annotations of a shard of `size` bytes."""
    offset_R, length_R = (
        pc.fill_null(table[name], -1).to_numpy().astype(np.int64)
        for name in ("tar_offset", "tar_size")
    )
    has_end_R = (offset_R >= 0) & (length_R >= 0)
    end_R = np.where(has_end_R, offset_R + padded(length_R), -1)
    following_R = np.minimum.accumulate(np.where(offset_R < 0, size, offset_R)[::-1])[::-1]
    keys = table["key"].to_numpy()
    before_N = np.where(kept_N > 0, end_R[kept_N - 1], 0)
    is_hidden_N = (kept_N > 0) & ((before_N < 0) | (keys[kept_N - 1] == keys[kept_N]))
    begin_N = np.where(is_hidden_N, 0, before_N)
    for place in np.flatnonzero(is_hidden_N & (offset_R[kept_N] >= 0)):
        begin_N[place] = _end_before(int(kept_N[place]), keys, end_R)
    columns = (
        kept_N.tolist(),
        keys[kept_N].tolist(),
        [None if offset < 0 else offset for offset in offset_R[kept_N].tolist()],
        begin_N.tolist(),
        np.append(following_R, size)[kept_N + 1].tolist(),
        _cues(table.select(CUES).take(kept_N)),
    )
    return [KeptRow(*values) for values in zip(*columns, strict=True)]


def _end_before(index: int, keys: NDArray[np.object_], end_R: NDArray[np.int64]) -> int:
    """Find the end of the last image before a sample that has a place, and another key."""
    before = index - 1
    while before >= 0 and (end_R[before] < 0 or keys[before] == keys[index]):
        before -= 1
    return int(end_R[before]) if before >= 0 else 0


def _cues(table: Any) -> Sequence[str]:
    """Spell each row's cues as JSON does, with as few digits as a float32 needs."""
    pairs = (
        pc.binary_join_element_wise(
            f'"{name}": ', pc.fill_null(table[name].cast(pa.string()), "null"), ""
        )
        for name in CUES
    )
    return pc.binary_join_element_wise(*pairs, ", ").to_pylist()
