"""Embeddings beside an annotation, in the layout that `embedding-reader` calls `parquet_npy`.

`_embeddings/maclip/a/00012.npy` belongs to `a/00012.parquet`, and has features of the tower that
its folder is named after: float16, a row for every row of the annotation and in its order, zeros
where a sample has no score. It is committed first, and the annotation's footer has its SHA-256.
pyarrow, pandas and Spark ignore the folder, as its name begins with `_`.

Shapes in names: N rows, D values of an embedding.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shardsift.errors import ShardError
from shardsift.measures import MACLIP, Tower
from shardsift.records import Embedding
from shardsift.storage.files import ANNOTATION_SUFFIX, open_stream

EMBEDDINGS_FOLDER = "_embeddings"
_SUFFIX = ".npy"
_DTYPE = np.dtype("<f2")
_VERSION = (1, 0)
_PREFIX_BYTES = 10
"""Bytes before the header of a `.npy`: numpy's mark, the version, and the header's length."""

_HEADER = re.compile(
    rb"\x93NUMPY\x01\0..{'descr': '<f2', 'fortran_order': False, 'shape': \((\d+), (\d+)\), } *\n",
    re.DOTALL,
)
_SIGN, _INFINITY = np.uint16(0x8000), 0x7C00
"""Bits of a float16."""

_AT_A_TIME = 1024
"""Rows that are examined together, or what that takes would be as large as all of them."""

_CHUNK_BYTES = 8 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingsIdentity:
    """A file of embeddings as its annotation records it.

    `values` is the length of each; `tower` is the digest of the tower that gave them.
    """

    values: int
    sha256: str
    tower: str
    meaning: str


class EmbeddingsFile(NamedTuple):
    """The bytes of embeddings, and their identity in the annotation."""

    data: bytes
    identity: EmbeddingsIdentity


def embeddings_name(annotation: str, tower: str = MACLIP) -> str:
    """Name the embeddings of an annotation, below the output."""
    return f"{EMBEDDINGS_FOLDER}/{tower}/{annotation.removesuffix(ANNOTATION_SUFFIX)}{_SUFFIX}"


class EmbeddingRows:
    """Takes in the embeddings of a shard, some rows at a time, and packs them into a file."""

    def __init__(self, shard: str, tower: Tower) -> None:
        """Begin a file of a tower's embeddings."""
        self._shard = shard
        self._tower = tower
        self._parts: list[Embedding] = []

    def add(self, keys: Sequence[str], embeddings: Sequence[Embedding | None]) -> None:
        """Take in the next rows; None becomes zeros.

        Raises ShardError if float16 can't hold an embedding.
        """
        for begin in range(0, len(keys), _AT_A_TIME):
            part = embeddings[begin : begin + _AT_A_TIME]
            rows_ND = np.zeros((len(part), self._tower.values), _DTYPE)
            is_there_N = np.array([embedding_D is not None for embedding_D in part])
            for row_D, embedding_D in zip(rows_ND, part, strict=True):
                if embedding_D is not None:
                    row_D[:] = embedding_D
            is_finite_N, is_zero_N = examine(rows_ND)
            for place in np.flatnonzero(is_there_N & (is_zero_N | ~is_finite_N))[:1]:
                raise ShardError(
                    self._shard,
                    f"the embedding of {keys[begin + place]} is too large or too small for "
                    "float16; score with another model, or without --embeddings",
                )
            self._parts.append(rows_ND)

    def encode(self) -> EmbeddingsFile:
        """Return the file; nothing can be added afterwards."""
        tower = self._tower
        rows_ND = np.concatenate([np.zeros((0, tower.values), _DTYPE), *self._parts])
        self._parts.clear()
        sink = io.BytesIO()
        np.lib.format.write_array(sink, rows_ND, _VERSION, allow_pickle=False)
        data = sink.getvalue()
        checksum = hashlib.sha256(data).hexdigest()
        identity = EmbeddingsIdentity(
            values=tower.values, sha256=checksum, tower=tower.digest, meaning=tower.meaning
        )
        return EmbeddingsFile(data, identity)


def examine(embeddings_ND: Embedding) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which embeddings are finite, and which are zeros; by their bits, which is quick."""
    largest_N = (embeddings_ND.view(np.uint16) & ~_SIGN).max(axis=1, initial=0)
    return largest_N < _INFINITY, largest_N == 0


def read_embeddings(
    url: str, rows: int, values: int, hear: Callable[[bytes | memoryview], object] = len
) -> Generator[Embedding]:
    """Yield embeddings, shape (N, D), some rows at a time; `hear` is given all bytes of the file.

    Raises:
        ValueError: if the file doesn't hold float16 of that shape, and nothing else.
        OSError: if it can't be read.
    """
    with open_stream(url) as file:
        prefix = file.read(_PREFIX_BYTES)
        header = prefix + file.read(int.from_bytes(prefix[-2:], "little"))
        hear(header)
        if _shape_in(header) != (rows, values):
            raise ValueError(f"they have the shape {_shape_in(header)}, not {(rows, values)}")
        at_a_time = max(1, _CHUNK_BYTES // max(1, values * _DTYPE.itemsize))
        for first in range(0, rows, at_a_time):
            rows_ND = np.empty((min(at_a_time, rows - first), values), _DTYPE)
            if file.readinto(rows_ND.data) < rows_ND.nbytes:
                raise ValueError("they end early")
            hear(rows_ND.data)
            yield rows_ND
        if file.read(1):
            raise ValueError("more bytes follow")


def _shape_in(header: bytes) -> tuple[int, int]:
    """Return the shape of an array of our kind. Raises ValueError."""
    match = _HEADER.fullmatch(header)
    if not match:
        raise ValueError("they don't begin like a NumPy array of float16")
    return int(match[1]), int(match[2])
