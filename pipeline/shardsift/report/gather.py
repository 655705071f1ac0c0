"""What a report shows of a run: exact counts from its manifest, rows from a sample of its files.

A run of 10^8 images has a report as quickly as one of 10^5: no more than `limit` rows are read, of
files picked at random, and the report says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shardsift.annotations.documents import RunRecord, RunSummary
from shardsift.annotations.folder import MANIFEST, OutputFolder, find_annotations
from shardsift.annotations.manifest import Totals, read_manifest
from shardsift.annotations.parquet import count_values
from shardsift.storage.files import FAILED_FOLDER, join
from shardsift.threads import Track, no_track

Floats = NDArray[np.float64]

ROW_LIMIT = 200_000
MAX_FILES = 512
"""How many files are read at most of a run that is sampled."""

ERROR_EXAMPLES = 5
_THREADS = 16


@dataclass(kw_only=True)
class RunData:
    """A run as its report sees it.

    Attributes:
        table: rows of the annotation files that were read, columns as in `annotations.SCHEMA`.
        files_read, files: of annotation files. rows: of the whole run, None if no manifest says.
        errors: rows of the whole run by error code, of those read if no manifest says.
        summary, record: what `_summary.json` and `_run.json` hold; None if they are missing.
        failed: names of shards that were given up.
    """

    url: str
    table: Any
    files_read: int
    files: int
    rows: int | None
    errors: Mapping[str, int]
    summary: RunSummary | None = None
    record: RunRecord | None = None
    failed: Sequence[str] = ()

    @property
    def rows_read(self) -> int:
        """How many rows the pictures and distributions come of."""
        return len(self.table)

    @property
    def is_sampled(self) -> bool:
        """Whether there are rows that were not read, as far as is known."""
        return self.files_read < self.files or (self.rows or 0) > self.rows_read

    @property
    def root(self) -> str | None:
        """Where the shards lay when they were scored."""
        return self.record.root if self.record else None

    def numbers(self, name: str) -> Floats:
        """Return a column of the rows read, NaN if null."""
        column = self.table[name].cast(pa.float64())
        return cast(Floats, column.to_numpy(zero_copy_only=False))

    def strings(self, name: str) -> NDArray[np.object_]:
        """Return a column of the rows read, None if null."""
        column = self.table[name].cast(pa.string()).combine_chunks()
        return cast(NDArray[np.object_], column.to_numpy(zero_copy_only=False))


def gather(url: str, *, limit: int = ROW_LIMIT, seed: int = 0, track: Track = no_track) -> RunData:
    """Read the run in a folder of annotations.

    Raises:
        InputError: if there are none.
        AnnotationError: if a file isn't one of ours.
    """
    folder = find_annotations(url)
    folder.check_manifest()
    found, names = folder.files, sorted(folder.committed)
    totals = _totals(url) if MANIFEST in found else None
    rows = totals.rows if totals else None
    most = limit if rows is None or rows > limit else None
    tables = _read_rows(folder, names, most, seed, track)
    table = pa.concat_tables(tables).unify_dictionaries()
    return RunData(
        url=url,
        table=table,
        files_read=len(tables),
        files=len(names),
        rows=rows,
        errors=dict(totals.errors) if totals else count_values(table["error"]),
        summary=folder.read_summary(),
        record=folder.record,
        failed=sorted(name for name in found if name.startswith(f"{FAILED_FOLDER}/")),
    )


def _totals(url: str) -> Totals:
    totals = Totals()
    for report in read_manifest(join(url, MANIFEST)):
        totals.add(report)
    return totals


def _read_rows(
    folder: OutputFolder, names: list[str], limit: int | None, seed: int, track: Track
) -> list[Any]:
    """Read the tables of all files; with a limit, of some, none with more than its share."""
    if limit is not None:
        order = np.random.default_rng(seed).permutation(len(names))[:MAX_FILES]
        names = [names[place] for place in order]
        limit = -(-limit // len(names))

    def read_one(name: str) -> Any:
        table = folder.annotations.read(name)
        if limit is None or len(table) <= limit:
            return table
        # the file's own dice: threads come in any order
        dice = np.random.default_rng([seed, *name.encode()])
        return table.take(np.sort(dice.choice(len(table), limit, replace=False)))

    with ThreadPoolExecutor(_THREADS, "report") as pool:
        return list(track(pool.map(read_one, names), "reading annotations", len(names)))
