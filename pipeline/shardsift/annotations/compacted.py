"""Compacted annotations: those of many shards in few files, a run of row groups for each shard.

`_compact.arrow` has a row a shard: what its annotation file said of itself, and where its rows
lie now. So whoever reads annotations shard by shard reads compacted ones the same way.
"""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from shardsift.annotations.ipc import BATCH_ROWS, SUFFIX, WRITTEN, read_rows
from shardsift.annotations.parquet import SCHEMA, Footer, Scored
from shardsift.errors import AnnotationError
from shardsift.records import ShardIdentity, ShardReport
from shardsift.shards.names import annotation_name
from shardsift.storage.files import join, open_read
from shardsift.storage.redaction import reason, redact

INDEX = "_compact" + SUFFIX

_INDEX_SCHEMA = pa.schema(
    [
        pa.field("shard", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("errors", pa.string(), nullable=False),
        pa.field("sketch", pa.binary(), nullable=False),
        pa.field("unscored_images", pa.int64(), nullable=False),
        pa.field("file", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("first_group", pa.int32(), nullable=False),
        pa.field("groups", pa.int32(), nullable=False),
    ]
)
"""Columns of the index: `errors` is JSON, `groups` are the row groups of `file` from `first_group`
on. Shards stand in the order of their annotations' names."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Where the rows of a shard lie."""

    file: str
    first_group: int
    groups: int


class CompactedAnnotations:
    """A folder of compacted annotations, read as `AnnotationFiles` are; may be pickled."""

    def __init__(self, url: str, fingerprint: str, config: Mapping[str, Any]) -> None:
        """Read the index of a run; `fingerprint` and `config` are the run's.

        Raises:
            AnnotationError: if the index can't be read.
        """
        self.url = url
        self._fingerprint = fingerprint
        self._config = config
        self._opened = secrets.token_hex(8)  # the same URL may be compacted anew
        self._slots: dict[str, Slot] = {}
        self._shards: dict[str, ShardIdentity] = {}
        for row in self._index([name for name in _INDEX_SCHEMA.names if name != "sketch"]):
            name = annotation_name(row["shard"])
            self._slots[name] = Slot(row["file"], row["first_group"], row["groups"])
            self._shards[name] = _identity(row)

    @property
    def names(self) -> Iterable[str]:
        """What the annotation files of the shards were called."""
        return self._slots.keys()

    def read(self, name: str, columns: Sequence[str] | None = None) -> Any:
        """Read the rows of one shard, as `parquet.read` does. Raises AnnotationError."""
        slot = self._slots[name]
        url = join(self.url, slot.file)
        schema = SCHEMA if columns is None else pa.schema([SCHEMA.field(name) for name in columns])
        groups = range(slot.first_group, slot.first_group + slot.groups)
        try:
            with open_read(url) as file:
                parquet = pq.ParquetFile(file, metadata=_metadata(url, self._opened))
                table = parquet.read_row_groups(list(groups), schema.names, use_threads=False)
            return table.select(schema.names).cast(schema)
        except (OSError, pa.ArrowException, ValueError, IndexError) as error:
            raise _damaged(url, error) from error

    def scored(self, name: str) -> Scored:
        """Tell what an annotation was made of."""
        return Scored(self._shards[name], self._fingerprint)

    def footers(self, names: Iterable[str]) -> Iterator[Footer]:
        """Yield what the annotations of some shards said of themselves, in the index's order."""
        wanted = set(names)
        for row in self._index(_INDEX_SCHEMA.names) if wanted else ():
            if annotation_name(row["shard"]) in wanted:
                yield self._footer(row)

    def _footer(self, row: Mapping[str, Any]) -> Footer:
        return Footer(
            fingerprint=self._fingerprint,
            config=self._config,
            shard=_identity(row),
            report=ShardReport(
                shard=row["shard"],
                rows=row["rows"],
                errors=cast(dict[str, int], json.loads(row["errors"])),
                sketch=row["sketch"],
                unscored_images=row["unscored_images"],
            ),
        )

    def _index(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        url = join(self.url, INDEX)
        try:
            yield from read_rows(url, columns)
        except (OSError, pa.ArrowException, ValueError) as error:
            raise _damaged(url, error) from error


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
        "unscored_images": report.unscored_images,
        "file": slot.file,
        "first_group": slot.first_group,
        "groups": slot.groups,
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


@lru_cache(maxsize=16)
def _metadata(url: str, opened: str) -> Any:
    """Read the footer of a file, which takes as long as reading a shard's rows.

    Kept for one opening of its folder.
    """
    with open_read(url) as file:
        return pq.read_metadata(file)


def _damaged(url: str, error: Exception) -> AnnotationError:
    return AnnotationError(f"{redact(url)}: not what `shardsift compact` wrote: {reason(error)}")
