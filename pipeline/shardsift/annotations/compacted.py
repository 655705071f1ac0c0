"""Compacted annotations: those of many shards in few files, row after row.

`_compact.arrow` has a row a shard: what its annotation file said of itself, and where its rows
lie now. So whoever reads annotations shard by shard reads compacted ones the same way.
"""

from __future__ import annotations

import hashlib
import io
import json
import secrets
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from shardsift.annotations.documents import RunRecord
from shardsift.annotations.ipc import BATCH_ROWS, SUFFIX, WRITTEN, read_rows, read_table
from shardsift.annotations.parquet import (
    ROW_GROUP_ROWS,
    Footer,
    Scored,
    own_metadata,
    schema_of,
    with_digest,
)
from shardsift.annotations.sketch import count_of
from shardsift.annotations.spreads import decode_spreads, encode_spreads
from shardsift.errors import AnnotationError
from shardsift.records import ShardIdentity, ShardReport
from shardsift.redaction import reason
from shardsift.shards.names import annotation_name
from shardsift.storage.files import join, open_read

pc: Any = pyarrow.compute  # which makes its functions when it is imported

INDEX: Final = "_compact" + SUFFIX

_INDEX_SCHEMA = pa.schema(
    [
        pa.field("shard", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("errors", pa.string(), nullable=False),
        pa.field("sketch", pa.binary(), nullable=False),
        pa.field("passed_over", pa.string(), nullable=False),
        pa.field("digest", pa.string(), nullable=False),
        pa.field("attributes", pa.string(), nullable=False),
        pa.field("file", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("first_row", pa.int64(), nullable=False),
    ]
)
"""Columns of the index: `errors`, `passed_over` and `attributes` are JSON, `first_row` counts from
the beginning of `file`. Shards stand in the order of their annotations' names."""

_GROUPS_HELD: Final = 4
"""Neighbours of one row group are read one after the other, by several threads."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Where the rows of a shard begin."""

    file: str
    first_row: int


class CompactedAnnotations:
    """A folder of compacted annotations, read as `AnnotationFiles` are; may be pickled."""

    def __init__(self, url: str, record: RunRecord) -> None:
        """Read the index of a run.

        Raises:
            AnnotationError: if the index can't be read.
        """
        self.url = url
        self._record = record
        self._opened = secrets.token_hex(8)  # the same URL may be compacted anew
        location = join(url, INDEX)
        try:
            columns = [name for name in _INDEX_SCHEMA.names if name != "sketch"]
            self._index = read_table(location, _INDEX_SCHEMA, columns)
        except (OSError, pa.ArrowException, ValueError) as error:
            raise _damaged(location, error) from error
        shards = cast(list[str], self._index["shard"].to_pylist())
        self._places = {annotation_name(shard): place for place, shard in enumerate(shards)}
        self._checked: set[str] = set()

    @property
    def names(self) -> Iterable[str]:
        """What the annotation files of the shards were called."""
        return self._places.keys()

    @property
    def files(self) -> Sequence[str]:
        """The Parquet files that have the rows."""
        return cast(list[str], self._index["file"].cast(pa.string()).unique().to_pylist())

    def read(
        self, name: str, columns: Sequence[str] | None = None, digest: str | None = None
    ) -> Any:
        """Read the rows of one shard, as those of an annotation file. Raises AnnotationError."""
        row = self._row(name)
        url = join(self.url, row["file"])
        try:
            schema = schema_of(self._record.extras, columns)
            self._check_file(url, row["file"])
            table = self._rows(url, row["first_row"], row["rows"], schema)
            return with_digest(table, row["digest"])
        except (OSError, pa.ArrowException, ValueError, IndexError, KeyError) as error:
            raise _damaged(url, error) from error

    def scored(self, name: str) -> Scored:
        """Tell what an annotation was made of."""
        return Scored(_identity(self._row(name)), self._record.fingerprint)

    def footers(self, names: Iterable[str]) -> Iterator[Footer]:
        """Yield what the annotations of some shards said of themselves, in the index's order."""
        wanted = set(names)
        location = join(self.url, INDEX)
        try:
            for row in read_rows(location, _INDEX_SCHEMA) if wanted else ():
                if annotation_name(row["shard"]) in wanted:
                    yield self._footer(row)
        except (OSError, pa.ArrowException, ValueError) as error:
            raise _damaged(location, error) from error

    def _row(self, name: str) -> dict[str, Any]:
        return self._index.slice(self._places[name], 1).to_pylist()[0]

    def _rows(self, url: str, first: int, rows: int, schema: Any) -> Any:
        """Read so many rows of a file from one on, of the row groups that they lie in."""
        names = tuple(schema.names)
        there = _metadata(url, self._opened).num_rows
        if not 0 <= first <= first + rows <= there:
            raise ValueError(
                f"has {there:,} rows, of which the index wants {rows:,} from {first:,} on"
            )
        if not rows:
            return schema.empty_table()
        begin, end = first // ROW_GROUP_ROWS, (first + rows - 1) // ROW_GROUP_ROWS
        groups = [_read_group(url, self._opened, number, names) for number in range(begin, end + 1)]
        inside = pa.concat_tables(groups).slice(first - begin * ROW_GROUP_ROWS, rows)
        if len(inside) != rows:
            raise ValueError(f"ends {rows - len(inside):,} rows early")
        # A slice would hold its whole row group in memory.
        table = inside.take(np.arange(rows)).select(schema.names).cast(schema)
        table.validate(full=True)
        return table

    def _check_file(self, url: str, file: str) -> None:
        """Raise ValueError unless a file is of this index and this run."""
        if file in self._checked:
            return
        told = own_metadata(_metadata(url, self._opened).metadata or {})
        is_in_N = pc.equal(self._index["file"].cast(pa.string()), file)
        expected = digest_of_shards(self._index["digest"].filter(is_in_N).to_pylist())
        if (told.get("fingerprint"), told.get("digest")) != (self._record.fingerprint, expected):
            raise ValueError("it is of another configuration, or of other shards")
        self._checked.add(file)

    def _footer(self, row: Mapping[str, Any]) -> Footer:
        count_of(row["sketch"])  # for it has to be one
        return Footer(
            fingerprint=self._record.fingerprint,
            config=self._record.config,
            extras=self._record.extras,
            shard=_identity(row),
            report=ShardReport(
                shard=row["shard"],
                rows=row["rows"],
                errors=cast(dict[str, int], json.loads(row["errors"])),
                sketch=row["sketch"],
                passed_over=cast(dict[str, int], json.loads(row["passed_over"])),
                digest=row["digest"],
                attributes=decode_spreads(row["attributes"]),
            ),
        )


def digest_of_shards(digests: Iterable[str]) -> str:
    """Digest the rows of several shards, by the digests of each."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def index_row(footer: Footer, slot: Slot) -> dict[str, Any]:
    """Make a shard's row of the index."""
    report = footer.report
    return {
        "shard": footer.shard.path,
        "size": footer.shard.size,
        "version": footer.shard.version,
        "rows": report.rows,
        "errors": json.dumps(report.errors, sort_keys=True),
        "sketch": report.sketch,
        "passed_over": json.dumps(report.passed_over, sort_keys=True),
        "digest": report.digest,
        "attributes": encode_spreads(report.attributes),
        "file": slot.file,
        "first_row": slot.first_row,
    }


def encode_index(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Encode an index; equal rows give equal bytes."""
    sink = io.BytesIO()
    table = pa.Table.from_pylist(list(rows), _INDEX_SCHEMA)
    with pa.ipc.new_file(sink, _INDEX_SCHEMA, options=WRITTEN) as writer:
        writer.write_table(table, BATCH_ROWS)
    return sink.getvalue()


def _identity(row: Mapping[str, Any]) -> ShardIdentity:
    return ShardIdentity(path=row["shard"], size=row["size"], version=row["version"])


_decoding = threading.Lock()
"""Held while a row group is read: of several threads that want the same one, one reads it."""


def _read_group(url: str, opened: str, number: int, columns: tuple[str, ...]) -> Any:
    with _decoding:
        return _decoded_group(url, opened, number, columns)


@lru_cache(maxsize=_GROUPS_HELD)
def _decoded_group(url: str, opened: str, number: int, columns: tuple[str, ...]) -> Any:
    with open_read(url) as file:
        metadata = _metadata(url, opened)
        parquet = pq.ParquetFile(file, metadata=metadata, page_checksum_verification=True)
        return parquet.read_row_group(number, list(columns))


@lru_cache(maxsize=16)
def _metadata(url: str, opened: str) -> Any:
    """Read the footer of a file, which takes as long as reading a shard's rows.

    Kept for one opening of its folder.
    """
    with open_read(url) as file:
        return pq.read_metadata(file)


def _damaged(url: str, error: Exception) -> AnnotationError:
    return AnnotationError(
        f"{url}: not what `shardsift compact` wrote: {reason(error)}; compact again"
    )
