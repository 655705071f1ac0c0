"""Two proofs of a table: a digest of its values, and a checksum of its whole Parquet file.

The digest only depends on values, not on how a file stores them; `docs/reference/files.md`
describes the computation. The checksum is stored before the footer, where Parquet readers ignore
it. It also covers statistics and indices, which readers trust.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute

pc: Any = pyarrow.compute  # its functions are made at import, unseen by type checkers


class TableDigest:
    """Digest of a table that is added in pieces of any size."""

    def __init__(self, schema: Any) -> None:
        """Begin with no rows; `schema` names the columns, in their order."""
        # For each column: validity, string sizes, values.
        self._columns = {name: tuple(hashlib.sha256() for _ in range(3)) for name in schema.names}

    def add(self, table: Any) -> None:
        """Take in the rows of a `pyarrow.Table` of that schema."""
        for name, sums in self._columns.items():
            column = table[name]
            values = column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
            for chunk in values.chunks:
                for part, data in zip(sums, _parts(chunk), strict=True):
                    part.update(data)

    def hexdigest(self, names: Iterable[str] | None = None) -> str:
        """Return 64 hexadecimal digits, of all columns or of some."""
        whole = hashlib.sha256()
        for name in self._columns if names is None else names:
            whole.update(name.encode() + b"\0")
            for part in self._columns[name]:
                whole.update(part.digest())
        return whole.hexdigest()


ROW_COLUMNS: Final = ("key", "index", "tar_size")
"""Columns that identify the samples of an output's rows."""

_MARK: Final = b"shardsift-sha256"
_SUM_BYTES: Final = 32
_TAIL_BYTES: Final = 8
"""The length of the footer, and Parquet's own mark."""


def digest_of(table: Any) -> str:
    """Digest a `pyarrow.Table`."""
    digest = TableDigest(table.schema)
    digest.add(table)
    return digest.hexdigest()


def _parts(chunk: Any) -> Iterator[Any]:
    """Yield the bytes of an array: a byte a value, 1 or 0 for null; sizes of strings; values."""
    yield pc.is_valid(chunk).cast(pa.uint8()).to_numpy(zero_copy_only=False).tobytes()
    if pa.types.is_fixed_size_binary(chunk.type):
        yield b""
        yield b"".join(pc.fill_null(chunk, bytes(chunk.type.byte_width)).to_pylist())
        return
    if not pa.types.is_string(chunk.type):
        numbers = chunk.cast(pa.uint8()) if pa.types.is_boolean(chunk.type) else chunk
        values = pc.fill_null(numbers, 0).to_numpy(zero_copy_only=False)
        yield b""
        yield values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
        return
    strings = pc.fill_null(chunk, "")
    yield pc.binary_length(strings).to_numpy(zero_copy_only=False).astype("<u4").tobytes()
    yield _text(strings)


def _text(strings: Any) -> Any:
    """Return the bytes of all strings, one after the other."""
    _, offsets, data = strings.buffers()
    if not len(strings) or data is None:
        return b""
    ends = np.frombuffer(offsets, np.int32)[strings.offset : strings.offset + len(strings) + 1]
    return memoryview(data)[ends[0] : ends[-1]]


# --- the checksum of a file ----------------------------------------------------------------------


def seal(data: bytes) -> bytes:
    """Put the checksum into a Parquet file."""
    body, footer = _split(data)
    return body + _MARK + hashlib.sha256(data).digest() + footer


def is_broken(data: bytes) -> bool:
    """Return whether a file was sealed, and was changed since; a copy by others has no seal."""
    body, footer = _split(data)
    content = body[: -len(_MARK) - _SUM_BYTES]
    mark, checksum = body[len(content) : -_SUM_BYTES], body[-_SUM_BYTES:]
    alike = sum(one == other for one, other in zip(mark, _MARK, strict=False))
    if alike < len(_MARK) // 2:  # a mark with flipped bits still counts as a mark
        return False
    return mark != _MARK or hashlib.sha256(content + footer).digest() != checksum


def _split(data: bytes) -> tuple[bytes, bytes]:
    footer = int.from_bytes(data[-_TAIL_BYTES:-4], "little") + _TAIL_BYTES
    return data[:-footer], data[-footer:]
