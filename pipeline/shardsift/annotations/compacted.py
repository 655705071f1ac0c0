"""Compacted annotations: those of many shards in few files, one shard after the other.

The manifest names the shards and counts their rows, so a shard's rows begin where those of the
shards before it end.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from shardsift.annotations.documents import RunRecord
from shardsift.annotations.parquet import Footer, Scored, own_metadata, schema_of, with_digest
from shardsift.errors import AnnotationError
from shardsift.records import ShardIdentity, ShardReport
from shardsift.redaction import reason
from shardsift.shards.names import annotation_name
from shardsift.storage.files import join, open_read

_GROUPS_HELD: Final = 4
"""Neighbours of one row group are read one after the other, by several threads."""


class CompactedAnnotations:
    """A folder of compacted annotations, read as `AnnotationFiles` are; may be pickled.

    `names` are those that the annotation files of the shards had.
    """

    def __init__(
        self, url: str, files: Iterable[str], record: RunRecord, reports: Iterable[ShardReport]
    ) -> None:
        """Find out where the rows of each shard lie. Raises AnnotationError if that isn't clear."""
        self.url = url
        self._record = record
        self._opened = secrets.token_hex(8)  # the same URL may be compacted anew
        known = {annotation_name(report.shard): report for report in reports}
        self._reports = {name: known[name] for name in sorted(known)}
        self.names = self._reports.keys()
        self._first_rows: dict[str, int] = {}
        self._groups: list[tuple[str, int]] = []  # file, and number in it
        self._group_rows: list[int] = []  # the first one of each
        waiting, rows = iter(self._reports.items()), 0
        for file in sorted(files):
            rows = self._open(join(url, file), waiting, rows)
        if left := next(waiting, None):
            raise _damaged(url, ValueError(f"its files end before {left[0]}"))

    def _open(self, url: str, waiting: Iterator[tuple[str, ShardReport]], rows: int) -> int:
        """Take in a file whose first row has this number; return that of the next file's."""
        first = rows
        try:
            metadata = _metadata(url, self._opened)
            told = own_metadata(metadata.metadata or {})
            own = list(islice(waiting, int(told["shards"])))
            for name, report in own:
                self._first_rows[name] = rows
                rows += report.rows
            expected = digest_of_shards(report.digest for _, report in own)
            wanted = (self._record.fingerprint, expected, rows - first)
            if (told["fingerprint"], told["digest"], metadata.num_rows) != wanted:
                raise ValueError("it is of another configuration, or of other shards")
        except (OSError, pa.ArrowException, ValueError, KeyError) as error:
            raise _damaged(url, error) from error
        for number in range(metadata.num_row_groups):
            self._groups.append((url, number))
            self._group_rows.append(first)
            first += metadata.row_group(number).num_rows
        return rows

    def read(
        self, name: str, columns: Sequence[str] | None = None, digest: str | None = None
    ) -> Any:
        """Read the rows of one shard, as those of an annotation file. Raises AnnotationError."""
        first, report = self._first_rows[name], self._reports[name]
        schema = schema_of(self._record.extras, columns)
        table, url = schema.empty_table(), self.url
        if report.rows:
            begin = bisect_right(self._group_rows, first) - 1
            end = bisect_right(self._group_rows, first + report.rows - 1)
            try:
                groups: list[Any] = []
                for url, number in self._groups[begin:end]:
                    groups.append(_read_group(url, self._opened, number, tuple(schema.names)))
                inside = pa.concat_tables(groups).slice(
                    first - self._group_rows[begin], report.rows
                )
                # A slice would hold its whole row groups in memory.
                table = inside.take(pa.array(range(len(inside)))).select(schema.names).cast(schema)
                table.validate(full=True)
            except (OSError, pa.ArrowException, ValueError) as error:
                raise _damaged(url, error) from error
        return with_digest(table, report.digest)

    def scored(self, name: str) -> Scored:
        """Return what an annotation was made of."""
        report = self._reports[name]
        identity = ShardIdentity(path=report.shard, size=report.bytes, version=report.version)
        return Scored(identity, self._record.fingerprint)

    def footers(self, names: Iterable[str]) -> Iterator[Footer]:
        """Yield what the annotations of some shards said of themselves."""
        for name in names:
            yield Footer(
                fingerprint=self._record.fingerprint,
                config=self._record.config,
                extras=self._record.extras,
                shard=self.scored(name).shard,
                report=self._reports[name],
            )


def digest_of_shards(digests: Iterable[str]) -> str:
    """Digest the rows of several shards, by the digests of each."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()


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


@lru_cache(maxsize=64)
def _metadata(url: str, opened: str) -> Any:
    """Read the footer of a file, which takes as long as reading a shard's rows."""
    with open_read(url) as file:
        return pq.read_metadata(file)


def _damaged(url: str, error: Exception) -> AnnotationError:
    return AnnotationError(
        f"{url}: not what `shardsift compact` wrote: {reason(error)}; compact again"
    )
