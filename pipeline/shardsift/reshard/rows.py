"""Which samples of a source shard are kept, where they lie, and how they were scored.

Annotations know where each image lies; the other files of its sample stand beside it. So a sample
lies between the end of the image before it and the beginning of the image behind it.

Suffixes: _R rows of a shard, _N those of them that are kept.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from shardsift.errors import ErrorCode
from shardsift.shards.tars import padded

pc: Any = pyarrow.compute  # which makes its functions when it is imported

PLACES = ("key", "tar_offset", "tar_size", "error", "image_ext", "sha256")
"""Columns that say where samples lie, which of them have no image, and what their images are."""


@dataclass(slots=True)
class KeptRow:
    """A sample to copy: its place in the shard, and what is merged into its `.json`.

    `offset` is where its image lies; the sample lies between `begin` and `end`, which is behind
    the headers of the next image. `fields` are `"quality": 0.71, …`, as in JSON. `is_split` says
    that other files of its key stand elsewhere in the shard, and are not kept. `sha256` is that of
    the file with the extension `image`, None if it wasn't hashed.
    """

    index: int
    key: str
    offset: int | None
    begin: int
    end: int
    fields: str
    is_split: bool = False
    image: str | None = None
    sha256: bytes | None = None


def kept_rows(
    table: Any, kept_N: NDArray[np.int32], size: int, columns: Sequence[str] = ()
) -> list[KeptRow]:
    """Make the rows of the indices `kept_N`, from all annotations of a shard of `size` bytes.

    `columns` are those of their fields.
    """
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
    values = (
        kept_N.tolist(),
        keys[kept_N].tolist(),
        [None if offset < 0 else offset for offset in offset_R[kept_N].tolist()],
        begin_N.tolist(),
        np.append(following_R, size)[kept_N + 1].tolist(),
        _fields(table.select(columns).take(kept_N)) if columns else [""] * len(kept_N),
        _is_split(table, keys, kept_N),
        *(table[name].take(kept_N).to_pylist() for name in ("image_ext", "sha256")),
    )
    return [KeptRow(*row) for row in zip(*values, strict=True)]


def _is_split(table: Any, keys: NDArray[np.object_], kept_N: NDArray[np.int32]) -> list[bool]:
    """Return which kept samples have files in samples without an image, which are left out."""
    is_left_R = pc.equal(table["error"], ErrorCode.MISSING_IMAGE).fill_null(False).to_numpy().copy()
    is_left_R[kept_N] = False
    left = set(keys[is_left_R].tolist())
    return [key in left for key in keys[kept_N].tolist()]


def _end_before(index: int, keys: NDArray[np.object_], end_R: NDArray[np.int64]) -> int:
    """Find the end of the last image before a sample that has a place, and another key."""
    before = index - 1
    while before >= 0 and (end_R[before] < 0 or keys[before] == keys[index]):
        before -= 1
    return int(end_R[before]) if before >= 0 else 0


def _fields(table: Any) -> Sequence[str]:
    """Spell each row's fields as JSON does."""
    pairs = (
        pc.binary_join_element_wise(f'"{name}": ', pc.fill_null(_as_json(table[name]), "null"), "")
        for name in table.column_names
    )
    return pc.binary_join_element_wise(*pairs, ", ").to_pylist()


def _as_json(column: Any) -> Any:
    """Spell values as JSON does: floats in as few digits as they need, hashes in hexadecimal ones.

    Not every reader of JSON knows integers of 64 bits.
    """
    kind = column.type
    if pa.types.is_fixed_size_binary(kind):
        return pa.array([value and f'"{value.hex()}"' for value in column.to_pylist()], pa.string())
    if pa.types.is_uint64(kind):
        hashes = column.to_pylist()
        return pa.array([None if h is None else f'"{h:016x}"' for h in hashes], pa.string())
    if pa.types.is_string(kind) or pa.types.is_dictionary(kind):
        texts = column.to_pylist()
        return pa.array([None if t is None else json.dumps(t) for t in texts], pa.string())
    return column.cast(pa.string())
