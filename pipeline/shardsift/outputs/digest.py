"""A digest of the values of a table, whatever file they lie in and however that was written.

`docs/reference/files.md` says how others can make it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

pc: Any = pyarrow.compute  # which makes its functions when it is imported


class TableDigest:
    """Takes in a table piece by piece; how it is cut into pieces doesn't matter."""

    def __init__(self, schema: Any) -> None:
        """Begin with no rows; `schema` names the columns, in their order."""
        # Of each column: which values are there, the sizes of its strings, the values.
        self._columns = {name: tuple(hashlib.sha256() for _ in range(3)) for name in schema.names}

    def add(self, table: Any) -> None:
        """Take in the rows of a `pyarrow.Table` of that schema."""
        for name, sums in self._columns.items():
            column = table[name]
            values = column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
            for chunk in values.chunks:
                for part, data in zip(sums, _parts(chunk), strict=True):
                    part.update(data)

    def hexdigest(self) -> str:
        """Return 64 hexadecimal digits."""
        whole = hashlib.sha256()
        for name, sums in self._columns.items():
            whole.update(name.encode() + b"\0")
            for part in sums:
                whole.update(part.digest())
        return whole.hexdigest()


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
        values = pc.fill_null(chunk, 0).to_numpy(zero_copy_only=False)
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
