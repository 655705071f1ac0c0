"""Numbers that don't fit memory, in files: each has those whose first bits are alike.

Suffixes: _N rows, _NW rows of W numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from shardsift.storage.scratch import make_scratch, naming_scratch

Rows = NDArray[np.uint64]
"""Rows of unsigned 64-bit numbers, shape (N, W)."""

_HELD_BYTES = 16 << 20


class Scratch:
    """Any number of rows, sorted into files by the first bits of their first number.

    As many files as there are, so many rows are near each other: file after file they are in order.
    They lie where Python's `tempfile` puts things, so `TMPDIR` says where.
    """

    def __init__(self, width: int, files: int = 64) -> None:
        """Begin with no rows of `width` numbers; `files` is a power of two."""
        self.added = 0
        self._files = files
        self._width = width
        self._held: list[Rows] = []
        self._held_bytes = 0
        self._folder = make_scratch()
        self.path = Path(self._folder.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Delete the files."""
        self._folder.cleanup()

    def add(self, rows_NW: Rows) -> None:
        """Take in further rows."""
        self._held.append(rows_NW)
        self._held_bytes += rows_NW.nbytes
        self.added += len(rows_NW)
        if self._held_bytes >= _HELD_BYTES:
            self._spill()

    def read_all(self) -> Iterator[Rows]:
        """Yield the rows of each file; nothing is added afterwards."""
        self._spill()
        return map(self._read, range(self._files))

    def _read(self, place: int) -> Rows:
        file = self._file(place)
        content = np.fromfile(file, np.uint64) if file.exists() else np.empty(0, np.uint64)
        return content.reshape(-1, self._width)

    def replace(self, place: int, rows_NW: Rows) -> None:
        """Put other rows into one file."""
        with naming_scratch():
            self._file(place).write_bytes(rows_NW.tobytes())

    def _spill(self) -> None:
        rows_NW = np.concatenate([np.empty((0, self._width), np.uint64), *self._held])
        first_bits_N = rows_NW[:, 0] >> np.uint64(64 - (self._files - 1).bit_length())
        order_N = np.argsort(first_bits_N, kind="stable")
        ends = np.searchsorted(first_bits_N[order_N], np.arange(1, self._files))
        for place, chunk_NW in enumerate(np.split(rows_NW[order_N], ends)):
            with naming_scratch(), self._file(place).open("ab") as file:
                file.write(chunk_NW.tobytes())
        self._held.clear()
        self._held_bytes = 0

    def _file(self, place: int) -> Path:
        return self.path / f"{place:04}"
