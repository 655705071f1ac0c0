"""Embeddings beside an annotation, in the layout that `embedding-reader` calls `parquet_npy`.

`embeddings/a/00012.npy` belongs to `a/00012.parquet`: float16, a row for every row of it and in its
order, zeros where a sample has no score. It is committed first, and the annotation's footer says
which bytes it has.

Shapes in names: N rows, D values of an embedding.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from shardsift.records import Embedding
from shardsift.storage.files import ANNOTATION_SUFFIX, open_stream

EMBEDDINGS_FOLDER = "embeddings"
_SUFFIX = ".npy"
_DTYPE = np.dtype("<f2")
_VERSION = (1, 0)
_PREFIX_BYTES = 10
"""In front of the header: numpy's mark, the version, and how long the header is."""

_HEADER = re.compile(
    rb"\x93NUMPY\x01\0..{'descr': '<f2', 'fortran_order': False, 'shape': \((\d+), (\d+)\), } *\n",
    re.DOTALL,
)
_CHUNK_BYTES = 8 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingsIdentity:
    """What an annotation says of its embeddings: values of each, and the SHA-256 of the file."""

    values: int
    sha256: str


def embeddings_name(annotation: str) -> str:
    """Name the embeddings of an annotation, below the output."""
    return f"{EMBEDDINGS_FOLDER}/{annotation.removesuffix(ANNOTATION_SUFFIX)}{_SUFFIX}"


def is_embeddings(name: str) -> bool:
    """Tell whether a file of an output may hold embeddings, by its name."""
    return name.startswith(f"{EMBEDDINGS_FOLDER}/") and name.endswith(_SUFFIX)


class EmbeddingRows:
    """Takes in embeddings of so many values, some rows at a time, and packs them into a file."""

    def __init__(self, values: int) -> None:
        self.values = values
        self._parts: list[Embedding] = []

    def add(self, embeddings: Sequence[Embedding | None]) -> None:
        """Take in the next rows; None becomes zeros."""
        rows_ND = np.zeros((len(embeddings), self.values), _DTYPE)
        for row_D, embedding_D in zip(rows_ND, embeddings, strict=True):
            if embedding_D is not None:
                row_D[:] = embedding_D
        self._parts.append(rows_ND)

    def encode(self) -> bytes:
        """Return the file; nothing can be added afterwards."""
        rows_ND = np.concatenate([np.zeros((0, self.values), _DTYPE), *self._parts])
        self._parts.clear()
        sink = io.BytesIO()
        np.lib.format.write_array(sink, rows_ND, _VERSION, allow_pickle=False)
        return sink.getvalue()

    def identify(self, data: bytes) -> EmbeddingsIdentity:
        """Tell what an annotation says of such a file."""
        return EmbeddingsIdentity(values=self.values, sha256=hashlib.sha256(data).hexdigest())


def read_embeddings(
    url: str, rows: int, values: int, hear: Callable[[bytes | memoryview], object] = len
) -> Generator[Embedding]:
    """Yield embeddings, shape (N, D), some rows at a time; `hear` is given all bytes of the file.

    Raises:
        ValueError: if the file doesn't hold float16 of that shape, and nothing else.
        OSError: if it can't be read.
    """
    with open_stream(url) as file:
        header = _read_header(file)
        hear(header)
        if _shape_in(header) != (rows, values):
            raise ValueError(f"they have the shape {_shape_in(header)}, not {(rows, values)}")
        at_a_time = max(1, _CHUNK_BYTES // (values * _DTYPE.itemsize))
        for first in range(0, rows, at_a_time):
            rows_ND = np.empty((min(at_a_time, rows - first), values), _DTYPE)
            if file.readinto(rows_ND.data) < rows_ND.nbytes:
                raise ValueError("they end early")
            hear(rows_ND.data)
            yield rows_ND
        if file.read(1):
            raise ValueError("more follows behind them")


def _read_header(file: BinaryIO) -> bytes:
    prefix = file.read(_PREFIX_BYTES)
    return prefix + file.read(int.from_bytes(prefix[-2:], "little"))


def _shape_in(header: bytes) -> tuple[int, int]:
    """Return the shape of an array of our kind. Raises ValueError."""
    match = _HEADER.fullmatch(header)
    if not match:
        raise ValueError("they don't begin as numpy begins a table of float16")
    return int(match[1]), int(match[2])
