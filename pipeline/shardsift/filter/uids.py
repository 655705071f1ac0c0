"""DataComp's subset file: sorted 128-bit uids as pairs of unsigned 64-bit integers, in NumPy's
`.npy`, as `resharder.py` of mlfoundations/datacomp takes them.

A uid that is kept twice stands there once: the resharder copies a sample as often as its uid
occurs.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from shardsift.filter.database import Database
from shardsift.storage.files import committing
from shardsift.storage.local import Guard, no_guard

pc: Any = pyarrow.compute  # which makes its functions when it is imported

DTYPE = np.dtype("u8,u8")
_HEX = "^[0-9a-fA-F]{32}$"


class UidWriter:
    """Takes in any number of uids; a database sorts them."""

    def __init__(self, database: Database) -> None:
        self.added = 0
        self._database = database
        database.run("CREATE TABLE uids (high UBIGINT, low UBIGINT)")

    def add(self, column: Any) -> None:
        """Take in those strings of a column that are 32 hexadecimal digits."""
        strings = column.cast(pa.string())
        is_uid = pc.fill_null(pc.match_substring_regex(strings, _HEX), fill_value=False)
        data = bytes.fromhex("".join(strings.filter(is_uid).to_pylist()))
        high_N, low_N = np.frombuffer(data, ">u8").astype(np.uint64).reshape(-1, 2).T
        self.added += len(high_N)
        source = pa.table({"high": high_N, "low": low_N})
        self._database.run("INSERT INTO uids SELECT high, low FROM arrow", {"arrow": source})

    def commit(self, url: str, guard: Guard = no_guard) -> tuple[int, str]:
        """Make the file appear at `url`; return the number of uids in it, and its SHA-256."""
        self._database.run("CREATE TABLE once AS SELECT DISTINCT high, low FROM uids")
        ((written,),) = self._database.run("SELECT count(*) FROM once")
        sha256 = hashlib.sha256()
        with committing(url, guard) as file:
            for part in self._parts(written):
                file.write(part)
                sha256.update(part)
        return written, sha256.hexdigest()

    def _parts(self, written: int) -> Iterator[bytes]:
        header = {"descr": DTYPE.descr, "fortran_order": False, "shape": (written,)}
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, header)
        yield head.getvalue()
        for batch in self._database.batches("SELECT high, low FROM once ORDER BY high, low"):
            pairs_N2 = np.column_stack([batch["high"].to_numpy(), batch["low"].to_numpy()])
            yield pairs_N2.astype("<u8").tobytes()
