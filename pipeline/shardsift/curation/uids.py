"""DataComp's subset file: sorted 128-bit uids as pairs of unsigned 64-bit integers, in NumPy's
`.npy`, as `resharder.py` of mlfoundations/datacomp takes them.

A uid that is kept twice stands there once: the resharder copies a sample as often as its uid
occurs.
"""

from __future__ import annotations

import hashlib
import io
from itertools import chain
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from shardsift.curation.scratch import Scratch
from shardsift.storage.files import committing
from shardsift.storage.local import Guard, no_guard

pc: Any = pyarrow.compute  # which makes its functions when it is imported

DTYPE = np.dtype("u8,u8")
_HEX = "^[0-9a-fA-F]{32}$"


def parse_uids(column: Any) -> NDArray[np.uint64]:
    """Parse those strings of a column that are 32 hexadecimal digits into pairs, shape (N, 2)."""
    strings = column.cast(pa.string())
    digits = strings.filter(pc.fill_null(pc.match_substring_regex(strings, _HEX), fill_value=False))
    data = bytes.fromhex("".join(digits.to_pylist()))
    return np.frombuffer(data, ">u8").astype(np.uint64).reshape(-1, 2)


class UidWriter:
    """Sorts any number of uids in bounded memory."""

    def __init__(self) -> None:
        self.written = 0
        self._scratch = Scratch(2)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._scratch.close()

    @property
    def added(self) -> int:
        """How many were taken in, each time that one occurs."""
        return self._scratch.added

    def add(self, uids_N2: NDArray[np.uint64]) -> None:
        """Take in further uids."""
        self._scratch.add(uids_N2)

    def commit(self, url: str, guard: Guard = no_guard) -> str:
        """Make the file appear at `url`, and return its SHA-256; it is the last thing to do."""
        for place, uids_N2 in enumerate(self._scratch.read_all()):
            once_N2 = _sorted(uids_N2)
            self._scratch.replace(place, once_N2)
            self.written += len(once_N2)
        header = {"descr": DTYPE.descr, "fortran_order": False, "shape": (self.written,)}
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, header)
        sha256 = hashlib.sha256()
        parts = (uids_N2.astype("<u8").tobytes() for uids_N2 in self._scratch.read_all())
        with committing(url, guard) as file:
            for part in chain([head.getvalue()], parts):
                file.write(part)
                sha256.update(part)
        return sha256.hexdigest()


def _sorted(uids_N2: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Sort uids, each once."""
    uids_N2 = uids_N2[np.lexsort((uids_N2[:, 1], uids_N2[:, 0]))]
    is_new_N = np.ones(len(uids_N2), np.bool_)
    is_new_N[1:] = (uids_N2[1:] != uids_N2[:-1]).any(axis=1)
    return uids_N2[is_new_N]
