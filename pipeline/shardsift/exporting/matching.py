"""Annotations of the rows of other Parquet files: by their place, or by keys.

If the files are the shards themselves, row N of a file is row N of its annotation. Else rows are
matched by keys, as `filter --join` finds them: within a file if each has the name of a shard, as
img2dataset writes `00012.parquet` beside `00012.tar`, else among all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from shardsift.errors import InputError
from shardsift.filtering.database import Database, QueryError, escaped, literal, quoted
from shardsift.filtering.joined_tables import Columns, Table, find_files, is_parquet
from shardsift.filtering.rows import read_annotation
from shardsift.measures import Contents
from shardsift.outputs.beside import Beside, add_columns, contents_with
from shardsift.outputs.output_folder import AnnotatedShard, AnnotationSet
from shardsift.outputs.sealed_table import schema_of
from shardsift.records import has_changed
from shardsift.redaction import reason
from shardsift.shards.parquet_rows import opened
from shardsift.storage.files import absolute, identify, join, located
from shardsift.threads import Track, map_ordered, no_track

ROW = "_row"
"""Number of a row among those of all files; no measure has a column of this name."""

_THREADS = 32


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """Annotations with the columns of other outputs, of which `names` are wanted."""

    found: AnnotationSet
    outputs: Sequence[Beside]
    names: Sequence[str]

    @property
    def contents(self) -> Contents:
        """All columns that there are."""
        return contents_with(self.found.contents, self.outputs)

    def read(self, annotated: AnnotatedShard, further: Sequence[str] = ()) -> Any:
        """Read the wanted columns of a shard, and further ones. Raises as `read_annotation`."""
        names = list(dict.fromkeys([*self.names, *further]))
        known = {column.name for column in self.found.contents.columns}
        own = [name for name in names if name in known]
        table = read_annotation(self.found, annotated, sorted({*own, "quality"}))
        table = add_columns(table, annotated, self.found.contents, self.outputs)
        return table.select(names)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A Parquet file to add columns to; its first row is the `first` of all files' rows."""

    url: str
    name: str
    first: int
    rows: int
    columns: Sequence[str]


def find_targets(pattern: str) -> tuple[str, Sequence[Target]]:
    """Find Parquet files, and the folder that their names are relative to.

    Raises:
        InputError: if there is none, or one can't be read.
    """
    files, _ = find_files(pattern)
    places = [absolute(file) for file in files]
    if not all(map(is_parquet, places)):
        raise InputError(
            f"{pattern}: columns are only added to Parquet files; write a table, --to csv, and "
            "join it with yours"
        )
    root = places[0].rpartition("/")[0]
    while not all(place.startswith(f"{root}/") for place in places):
        root = root.rpartition("/")[0]
    targets: list[Target] = []
    first = 0
    for place, (rows, columns) in zip(places, map_ordered(_look, places, _THREADS), strict=True):
        name = place[len(root) + 1 :]
        targets.append(Target(url=place, name=name, first=first, rows=rows, columns=columns))
        first += rows
    return root, targets


def _look(url: str) -> tuple[int, Sequence[str]]:
    """Return the number of a file's rows, and the names of its columns. Raises InputError."""
    try:
        with opened(url) as parquet:
            return parquet.metadata.num_rows, parquet.schema_arrow.names
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{url}: not readable Parquet: {reason(error)}") from error


# --- by place ------------------------------------------------------------------------------------


def own_shards(
    targets: Sequence[Target], found: AnnotationSet
) -> Sequence[AnnotatedShard | None] | None:
    """Return the shard that each file is, None for one without annotation.

    Returns None if the files aren't the corpus. Files elsewhere are a copy of it if each has the
    name and the size of a shard.

    Raises:
        InputError: if a shard has changed since it was scored.
    """
    if found.folder.reading.kind != "parquet":
        return None
    by_place = {join(found.root, each.shard): each for each in found.shards}
    shards = [by_place.get(target.url) for target in targets]
    has_moved = not any(shards)
    if has_moved:
        by_name = {each.shard: each for each in found.shards}
        shards = [by_name.get(target.name) for target in targets]
    for target, annotated in zip(targets, shards, strict=True):
        if annotated is None:
            if has_moved:
                return None
            continue
        then = found.folder.annotations.footer(annotated.name).shard
        now = identify(target.url, annotated.shard)
        if has_moved and now.size != then.size:
            return None
        if has_changed(now, then, has_moved=has_moved) or annotated.rows != target.rows:
            raise InputError(
                f"{target.url}: has changed since it was scored; score it again with --rescore "
                "changed"
            )
    return shards


# --- by key --------------------------------------------------------------------------------------


class Matcher:
    """Finds the annotations of rows by keys, in a database that ends with its block.

    Attributes:
        matched: rows that have one so far.
    """

    def __init__(self, pattern: str, on: str | None, annotations: Annotations) -> None:
        """Find the keys. Raises UserError."""
        self.matched: int = 0
        self._annotations = annotations
        self._table = Table(pattern, "into", on)
        self._database = Database(self._table.files)
        own = Columns(annotations.contents).own
        self._table.open(self._database, 0, own)
        self._schema = schema_of(annotations.contents, [*annotations.names, *self._own_keys])

    def __enter__(self) -> Matcher:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.__exit__()

    @property
    def on(self) -> str:
        """The keys, as `--on` spells them."""
        return self._table.on

    @property
    def _own_keys(self) -> list[str]:
        return [key.own for key in self._table.keys if key.own not in self._annotations.names]

    def match(
        self,
        targets: Sequence[Target],
        shards: Sequence[AnnotatedShard],
        track: Track = no_track,
    ) -> Iterator[Any]:
        """Match the rows of files with those of shards; yield batches in the order of `ROW`.

        Raises:
            InputError: if a row matches several samples.
        """
        annotations, keys = self._annotations, self._table.keys

        def batches() -> Iterator[Any]:
            for annotated in track(shards, "matching rows", len(shards)):
                table = annotations.read(annotated, self._own_keys)
                yield from table.cast(self._schema).to_batches()

        files = [(located(target.url), target.first) for target in targets]
        starts = pa.table({"file": [f for f, _ in files], "first": [n for _, n in files]})
        sides = ", ".join(f"{key.sql} AS on{place}" for place, key in enumerate(keys))
        names = ", ".join(literal(escaped(file)) for file, _ in files)
        rows = (
            f"SELECT shardsift_file AS file, file_row_number AS place, {sides} FROM "
            f"read_parquet([{names}], filename = 'shardsift_file', file_row_number = true, "
            "union_by_name = true)"
        )
        equal = " AND ".join(f"a.{quoted(key.own)} = t.on{n}" for n, key in enumerate(keys))
        wanted = ", ".join(f"a.{quoted(name)}" for name in annotations.names)
        source = {"annotations": self._database.stream(self._schema, batches()), "starts": starts}
        try:
            self._database.run(
                f"CREATE OR REPLACE TABLE matched AS SELECT s.first + t.place AS {ROW}, {wanted} "
                f"FROM annotations a JOIN ({rows}) t ON {equal} JOIN starts s USING (file)",
                source,
            )
        except QueryError as error:
            raise InputError(f"{self._table.url}: can't be matched: {error}") from error
        twice = self._database.run(
            f"SELECT {ROW} FROM matched GROUP BY {ROW} HAVING count(*) > 1 ORDER BY {ROW} LIMIT 1"
        )
        if twice:
            row = next(t for t in reversed(targets) if t.first <= twice[0][0])
            raise InputError(
                f"{row.url}: row {twice[0][0] - row.first} matches several samples by {self.on}; "
                "name a key that is unique, such as --on shard,key or --on uid"
            )
        ((matched,),) = self._database.run("SELECT count(*) FROM matched")
        self.matched += matched
        return self._database.batches(f"SELECT * FROM matched ORDER BY {ROW}")


class Aligned:
    """Annotations for rows that are asked for in order; null where there is none."""

    def __init__(self, schema: Any, batches: Iterator[Any]) -> None:
        self._schema = schema
        self._batches = batches
        self._waiting: list[Any] = []

    def rows(self, begin: int, end: int) -> Any:
        """Return the annotations of the rows from `begin` to before `end`, as a table."""
        while not self._waiting or self._waiting[-1][ROW][-1].as_py() < end:
            batch = next(self._batches, None)
            if batch is None:
                break
            if len(batch):
                self._waiting.append(batch)
        if not self._waiting:
            nulls = [pa.nulls(end - begin, field.type) for field in self._schema]
            return pa.table(nulls, schema=self._schema)
        table = pa.Table.from_batches(self._waiting)
        rows_N = table[ROW].to_numpy()
        own = int(np.searchsorted(rows_N, end))
        self._waiting = [batch for batch in table.slice(own).to_batches() if len(batch)]
        taken_N = np.zeros(end - begin, np.int64)
        is_there_N = np.zeros(end - begin, bool)
        taken_N[rows_N[:own] - begin] = np.arange(own)
        is_there_N[rows_N[:own] - begin] = True
        values = table.slice(0, own).drop_columns(ROW).rename_columns(self._schema.names)
        return values.take(pa.array(taken_N, mask=~is_there_N)).cast(self._schema)
