"""Data of a report: counts from the manifest of a run, a sample of its rows, their groups.

A report of 10^8 images is as fast as one of 10^5: at most `limit` rows of random files are read,
and the report says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shardsift.columns import Column
from shardsift.config.filter_settings import PREFIX
from shardsift.errors import UserError
from shardsift.filtering.rows import UNMATCHED, label_rows
from shardsift.measures import Contents
from shardsift.outputs.beside import Beside, add_columns, contents_with, find_beside
from shardsift.outputs.json_records import RunRecord, RunSummary
from shardsift.outputs.manifest import Totals, read_manifest
from shardsift.outputs.output_folder import MANIFEST, OutputFolder, annotated_shard, find_scores
from shardsift.outputs.run_folder import SUMMARY
from shardsift.outputs.sealed_table import count_values
from shardsift.reading import TARS, Reading
from shardsift.shards.plan import TOP, plan_shards, prefix_pattern
from shardsift.storage.files import FAILED_FOLDER, absolute, join, modified
from shardsift.threads import Track, no_track

_LABELS = ("VARCHAR", "BOOLEAN", "BIGINT", "UBIGINT", "INTEGER", "HUGEINT")
"""DuckDB's types that groups can be formed by."""


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """The label of each row, and how to ask for it in SQL.

    `sql` is an expression, on columns that `flags` of `filter` may have to join; `empty` names rows
    without a label.
    """

    label: str
    sql: str
    values: Any
    empty: str
    flags: tuple[str, ...] = ()


def group_by(table: Any, per: str, join: str | None, contents: Contents) -> Grouping:
    """Find the group of each row.

    Raises:
        ConfigError: if there is no such column, or one of fractions.
        InputError: if the file can't be joined.
    """
    if per == PREFIX:
        return _by_prefix(table)
    values, expression = label_rows(table, "--per", per, join, contents)
    if expression.kind not in _LABELS:
        raise expression.refusal(f"is {expression.kind}; name text or whole numbers")
    flags = ("--join", join) if join is not None and expression.is_joined else ()
    if len(flags) == 2 and " " not in flags[1]:
        flags = ("--join", absolute(flags[1]))
    name = expression.written
    sql = name if re.fullmatch(r'"[^"]+"|\w+', name) else f"({name})"
    return Grouping(label=per, sql=sql, values=values, empty=UNMATCHED, flags=flags)


def _by_prefix(table: Any) -> Grouping:
    shards = table["shard"].combine_chunks()
    names: list[str] = shards.dictionary.to_pylist()
    pattern = prefix_pattern(names)
    prefixes = pa.array([re.sub(pattern, "", name) for name in names], pa.string())
    values = prefixes.take(shards.indices).dictionary_encode()
    return Grouping(
        label="group",
        sql=f"regexp_replace(shard, '{pattern}', '')",
        values=pa.chunked_array([values]),
        empty=TOP,
    )


Floats = NDArray[np.float64]

ROW_LIMIT = 200_000
MAX_FILES = 512
"""Most files that are read of a run that is sampled."""

ERROR_EXAMPLES = 5
_THREADS = 16


@dataclass(kw_only=True)
class RunData:
    """A run as its report sees it.

    Attributes:
        table: rows of the annotation files that were read, and of the outputs beside them.
        further: columns that not every annotation has, of this output and of others.
        flags: what `filter` has to be given so that it knows all columns.
        grouping: the group of each row.
        files_read, files: of annotation files. rows_there: of the files that were read.
        rows: of the whole run, None if no manifest says.
        errors: rows of the whole run by error code, of those read if no manifest says.
        passed_over: of the whole run by `PassedOver`, empty if no manifest says.
        summary, record: what `_summary.json` and `_run.json` hold; None if they are missing.
        failed: names of shards that were given up.
        is_running: whether a command writes here, or was killed.
        planned: shards of an unfinished run, None if they can't be counted.
        newest: when the newest annotation was written, None if the store doesn't tell.
    """

    url: str
    table: Any
    further: Sequence[Column]
    grouping: Grouping
    flags: Sequence[str] = ()
    files_read: int
    files: int
    rows_there: int
    rows: int | None
    errors: Mapping[str, int]
    passed_over: Mapping[str, int] = field(default_factory=dict[str, int])
    summary: RunSummary | None = None
    record: RunRecord | None = None
    failed: Sequence[str] = ()
    is_running: bool = False
    planned: int | None = None
    newest: datetime | None = None

    @property
    def rows_read(self) -> int:
        """The number of rows that were read for pictures and distributions."""
        return len(self.table)

    @property
    def is_sampled(self) -> bool:
        """True if there are rows that were not read, as far as is known."""
        there = self.rows_there if self.rows is None else self.rows
        return self.files_read < self.files or there > self.rows_read

    @property
    def is_finished(self) -> bool:
        """True if the run has finished."""
        return self.summary is not None and not self.is_running

    @property
    def reading(self) -> Reading:
        """The kind of its shards, and their columns."""
        return self.record.reading if self.record else TARS

    @property
    def root(self) -> str | None:
        """Folder of the shards when they were scored."""
        return self.record.root if self.record else None

    def numbers(self, name: str) -> Floats:
        """Return a column of the rows read, NaN if null."""
        column = self.table[name].cast(pa.float64())
        return cast(Floats, column.to_numpy(zero_copy_only=False))

    def strings(self, name: str) -> NDArray[np.object_]:
        """Return a column of the rows read, None if null."""
        column = self.table[name].cast(pa.string()).combine_chunks()
        return cast(NDArray[np.object_], column.to_numpy(zero_copy_only=False))


def gather(
    url: str,
    *,
    limit: int = ROW_LIMIT,
    seed: int = 0,
    per: str = PREFIX,
    join: str | None = None,
    beside: Sequence[str] = (),
    track: Track = no_track,
) -> RunData:
    """Read the run in a folder of annotations, and group its rows.

    They are grouped by `per`, which is a column of annotations or of the file to `join`, or SQL.

    Outputs that stand `beside` it add columns.

    Raises:
        InputError: if there are none, the file can't be joined, or an output stands beside others.
        ConfigError: if there is no such column.
        AnnotationError: if a file isn't one of ours.
    """
    folder = find_scores(url)
    outputs = find_beside(beside)
    folder.check_manifest()
    found, names = folder.files, sorted(folder.committed)
    summary = folder.read_summary()
    # until a run has finished, the manifest is that of an earlier run
    totals = _totals(url) if MANIFEST in found and summary else None
    rows = totals.rows if totals else None
    most = limit if rows is None or rows > limit else None
    chosen = names if most is None else _draw(names, seed)
    thinned = list(_read_rows(folder, outputs, chosen, most, seed, track))
    table = pa.concat_tables(rows for rows, _ in thinned).unify_dictionaries()
    contents = contents_with(folder.contents, outputs)
    flags = [word for output in outputs for word in ("--with", output.given)]
    is_running = folder.is_held
    return RunData(
        url=url,
        table=table,
        further=contents.further,
        flags=flags,
        grouping=group_by(table, per, join, contents),
        files_read=len(chosen),
        files=len(names),
        rows_there=sum(there for _, there in thinned),
        rows=rows,
        errors=dict(totals.errors) if totals else count_values(table["error"]),
        passed_over=totals.passed_over if totals else {},
        summary=summary,
        record=folder.record,
        failed=sorted(name for name in found if name.startswith(f"{FAILED_FOLDER}/")),
        is_running=is_running,
        planned=None if summary and not is_running else _count_planned(folder.record),
        newest=_newest(url, [SUMMARY] if summary and not is_running else chosen),
    )


def _count_planned(record: RunRecord | None) -> int | None:
    try:
        return plan_shards(record.patterns(), record.reading).count if record else None
    except (UserError, OSError):
        return None  # the corpus may have moved


def _totals(url: str) -> Totals:
    totals = Totals()
    for report in read_manifest(join(url, MANIFEST)):
        totals.add(report)
    return totals


def _newest(url: str, names: Sequence[str]) -> datetime | None:
    """Look up when the last of some files was written."""

    def when(name: str) -> datetime | None:
        try:
            return modified(join(url, name))
        except OSError:
            return None  # a compacted annotation has no own file

    with ThreadPoolExecutor(_THREADS, "report") as pool:
        known = [time for time in pool.map(when, names[:MAX_FILES]) if time is not None]
    return max(known, default=None)


def _draw(names: Sequence[str], seed: int) -> Sequence[str]:
    order = np.random.default_rng(seed).permutation(len(names))[:MAX_FILES]
    return [names[int(place)] for place in order]


def _read_rows(
    folder: OutputFolder,
    outputs: Sequence[Beside],
    names: Sequence[str],
    limit: int | None,
    seed: int,
    track: Track,
) -> Iterable[tuple[Any, int]]:
    """Yield the tables of files, with a `limit` at most its share of each, and their contents."""
    share = None if limit is None else -(-limit // len(names))

    def read_one(name: str) -> tuple[Any, int]:
        footer, table = folder.annotations.read_with_footer(name)
        table = add_columns(table, annotated_shard(name, footer), folder.contents, outputs)
        if share is None or len(table) <= share:
            return table, len(table)
        # a generator for each file: threads finish in any order
        dice = np.random.default_rng([seed, *name.encode()])
        return table.take(np.sort(dice.choice(len(table), share, replace=False))), len(table)

    with ThreadPoolExecutor(_THREADS, "report") as pool:
        yield from track(pool.map(read_one, names), "reading annotations", len(names))
