"""DataComp's subset file: sorted 128-bit uids as pairs of unsigned 64-bit integers, in NumPy's
`.npy`, as `resharder.py` of mlfoundations/datacomp takes them.

A uid that is kept twice stands there once: the resharder copies a sample as often as its uid
occurs.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from shardsift.storage.files import committing

pc: Any = pyarrow.compute  # which makes its functions when it is imported

DTYPE = np.dtype("u8,u8")
_HEX = "^[0-9a-fA-F]{32}$"
_HELD = 1 << 20
_SCRATCH_FILES = 64


def parse_uids(column: Any) -> NDArray[np.uint64]:
    """Parse those strings of a column that are 32 hexadecimal digits into pairs, shape (N, 2)."""
    strings = column.cast(pa.string())
    digits = strings.filter(pc.fill_null(pc.match_substring_regex(strings, _HEX), fill_value=False))
    data = bytes.fromhex("".join(digits.to_pylist()))
    return np.frombuffer(data, ">u8").astype(np.uint64).reshape(-1, 2)


class UidWriter:
    """Sorts any number of uids in bounded memory, through scratch files by their first bits."""

    def __init__(self) -> None:
        self.added = 0
        self.written = 0
        self._held: list[NDArray[np.uint64]] = []
        self._held_rows = 0
        self._folder = tempfile.TemporaryDirectory(prefix="shardsift-")
        self._path = Path(self._folder.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._folder.cleanup()

    def add(self, uids_N2: NDArray[np.uint64]) -> None:
        """Take in further uids."""
        self._held.append(uids_N2)
        self._held_rows += len(uids_N2)
        self.added += len(uids_N2)
        if self._held_rows >= _HELD:
            self._spill()

    def commit(self, url: str) -> str:
        """Make the file appear at `url`, and return its SHA-256; it is the last thing to do."""
        self._spill()
        self.written = sum(self._sort(place) for place in range(_SCRATCH_FILES))
        header = {"descr": DTYPE.descr, "fortran_order": False, "shape": (self.written,)}
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, header)
        sha256 = hashlib.sha256()
        with committing(url) as file:
            for part in chain([head.getvalue()], map(self._read, range(_SCRATCH_FILES))):
                file.write(part)
                sha256.update(part)
        return sha256.hexdigest()

    def _spill(self) -> None:
        uids_N2 = np.concatenate([np.empty((0, 2), np.uint64), *self._held])
        first_bits_N = uids_N2[:, 0] >> np.uint64(64 - (_SCRATCH_FILES - 1).bit_length())
        order_N = np.argsort(first_bits_N, kind="stable")
        ends = np.searchsorted(first_bits_N[order_N], np.arange(1, _SCRATCH_FILES))
        for place, chunk_N2 in enumerate(np.split(uids_N2[order_N], ends)):
            with self._scratch(place).open("ab") as file:
                file.write(chunk_N2.tobytes())
        self._held.clear()
        self._held_rows = 0

    def _sort(self, place: int) -> int:
        """Sort a scratch file, each uid once; return how many are left."""
        uids_N2 = np.fromfile(self._scratch(place), np.uint64).reshape(-1, 2)
        uids_N2 = uids_N2[np.lexsort((uids_N2[:, 1], uids_N2[:, 0]))]
        is_new_N = np.ones(len(uids_N2), np.bool_)
        is_new_N[1:] = (uids_N2[1:] != uids_N2[:-1]).any(axis=1)
        uids_N2 = uids_N2[is_new_N]
        self._scratch(place).write_bytes(uids_N2.astype("<u8").tobytes())
        return len(uids_N2)

    def _read(self, place: int) -> bytes:
        return self._scratch(place).read_bytes()

    def _scratch(self, place: int) -> Path:
        return self._path / f"{place:02}"
