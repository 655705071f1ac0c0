"""Compacted annotations: those of many shards in few files, with row groups for each shard.

The manifest names the shards and counts their rows, so it is known which row groups are whose.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from math import ceil
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shardsift.annotations.documents import RunRecord
from shardsift.annotations.parquet import (
    ROW_GROUP_ROWS,
    Footer,
    Scored,
    own_metadata,
    read_rows,
    schema_of,
    with_digest,
)
from shardsift.errors import AnnotationError
from shardsift.records import ShardIdentity, ShardReport
from shardsift.redaction import reason
from shardsift.shards.names import annotation_name
from shardsift.storage.files import join, open_read


class CompactedAnnotations:
    """A folder of compacted annotations, read as `AnnotationFiles` are; may be pickled.

    `names` are those that the annotation files of the shards had.
    """

    def __init__(
        self, url: str, files: Iterable[str], record: RunRecord, reports: Iterable[ShardReport]
    ) -> None:
        """Find the row groups of each shard. Raises AnnotationError if a file is another one."""
        self.url = url
        self._record = record
        self._opened = secrets.token_hex(8)  # the same URL may be compacted anew
        known = {annotation_name(report.shard): report for report in reports}
        self._reports = {name: known[name] for name in sorted(known)}
        self.names = self._reports.keys()
        self._groups: dict[str, tuple[str, Sequence[int]]] = {}
        waiting = iter(self._reports.items())
        for file in sorted(files):
            self._open(join(url, file), waiting)
        if left := next(waiting, None):
            raise _damaged(url, ValueError(f"its files end before {left[0]}"))

    def _open(self, url: str, waiting: Iterator[tuple[str, ShardReport]]) -> None:
        """Take in a file, which holds the next of the shards."""
        try:
            metadata = _metadata(url, self._opened)
            told = own_metadata(metadata.metadata or {})
            own = dict(islice(waiting, int(told["shards"])))
            expected = digest_of_shards(report.digest for report in own.values())
            rows = sum(report.rows for report in own.values())
            wanted = (self._record.fingerprint, expected, rows)
            if (told["fingerprint"], told["digest"], metadata.num_rows) != wanted:
                raise ValueError("it is of another configuration, or of other shards")
        except (OSError, pa.ArrowException, ValueError, KeyError) as error:
            raise _damaged(url, error) from error
        first = 0
        for name, report in own.items():
            groups = range(first, first + ceil(report.rows / ROW_GROUP_ROWS))
            self._groups[name], first = (url, groups), groups.stop

    def read(
        self, name: str, columns: Sequence[str] | None = None, _digest: str | None = None
    ) -> Any:
        """Read the rows of one shard, as those of an annotation file. Raises AnnotationError."""
        (url, groups), report = self._groups[name], self._reports[name]
        try:
            with open_read(url) as file:
                metadata = _metadata(url, self._opened)
                parquet = pq.ParquetFile(file, metadata=metadata, page_checksum_verification=True)
                table = read_rows(parquet, schema_of(self._record.extras, columns), groups)
            if len(table) != report.rows:
                raise ValueError(f"{name} has {len(table):,} rows, and {report.rows:,} in the run")
        except (OSError, pa.ArrowException, ValueError, IndexError) as error:
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


@lru_cache(maxsize=64)
def _metadata(url: str, opened: str) -> Any:
    """Read the footer of a file, which takes as long as reading a shard's rows."""
    with open_read(url) as file:
        return pq.read_metadata(file)


def _damaged(url: str, error: Exception) -> AnnotationError:
    return AnnotationError(
        f"{url}: not what `shardsift compact` wrote: {reason(error)}; compact again"
    )
