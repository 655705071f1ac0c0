"""Many small annotation files into few large ones, nothing lost."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from shardsift import __version__
from shardsift.annotations.compacted import INDEX, Slot, digest_of_shards, encode_index, index_row
from shardsift.annotations.digest import digest_of
from shardsift.annotations.documents import CompactRecord, RunSummary
from shardsift.annotations.folder import (
    MANIFEST,
    RUN_RECORD,
    SUMMARY,
    OutputFolder,
    RunFolder,
    check_apart,
    check_output,
    find_annotations,
    is_passing,
)
from shardsift.annotations.parquet import (
    METADATA_PREFIX,
    PARQUET_OPTIONS,
    ROW_GROUP_ROWS,
    Footer,
    own_metadata,
    schema_of,
)
from shardsift.annotations.sketch import quantile_sketch
from shardsift.annotations.survey import Survey, survey
from shardsift.errors import AnnotationError, OutputError
from shardsift.storage.files import (
    ANNOTATION_SUFFIX,
    absolute,
    commit,
    committing,
    join,
    list_files,
    open_read,
    read_bytes,
)
from shardsift.storage.lease import Lease, held
from shardsift.threads import Track, map_ordered, no_track

RECORD = "_compacting.json"
"""Written first: a folder that has it may be written anew."""

BYTES_PER_FILE = 256 << 20
_THREADS = 4
_FILE_FORMAT = "annotations-{:05d}" + ANNOTATION_SUFFIX
_OWN_FILE = re.compile(r"annotations-\d{5,}\.parquet")

Part = tuple[Footer, Any]
"""What an annotation file says of itself, and its rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Compaction:
    """What came of it: files that were read, their rows, and files that were written.

    `left_embeddings` says that there are embeddings, which stay beside what was read.
    """

    shards: int
    rows: int
    files: int
    left_embeddings: bool = False


def compact(
    url: str,
    output: str,
    *,
    bytes_per_file: int = BYTES_PER_FILE,
    overwrite: bool = False,
    track: Track = no_track,
) -> Compaction:
    """Write the annotations of a finished run into files of about so many bytes.

    Equal annotations give equal files. `filter`, `stats`, `report` and `compare` read the output
    as they read `url`; nothing can be added to it.

    Raises:
        UserError: if the run isn't complete, or the output holds something else.
        AnnotationError: if a file isn't one of ours, or has other rows than its footer says.
    """
    source = find_annotations(url)
    check_apart(output, url)
    _claim(output, overwrite=overwrite)
    found = survey(source, track=track)  # complete, and of one configuration
    summary = source.read_summary()
    assert summary, "a run that is complete has one"
    check_output(output, ())
    with held(output) as lease:
        target, own = _claim(output, overwrite=overwrite)  # which may be another one's by now
        target.sweep()
        target.lease = lease
        target.delete_all([SUMMARY])  # readers look for it
        target.delete_all(own)
        return _compact(source, found, summary, target, lease, bytes_per_file, track)


def _compact(
    source: OutputFolder,
    found: Survey,
    summary: RunSummary,
    target: RunFolder,
    lease: Lease,
    bytes_per_file: int,
    track: Track,
) -> Compaction:
    output, url = target.url, source.url
    names = [part.name for part in found.parts]
    record = CompactRecord(annotations=absolute(url))
    commit(join(output, RECORD), record.encode(), lease.guard)

    tables = map_ordered(source.annotations.read, names, _THREADS)
    pairs = zip(source.read_footers(names), tables, strict=True)
    pairs = track(pairs, "compacting", len(names))
    index, sums = _write(pairs, source, output, lease, bytes_per_file)
    assert [row["shard"] for row in index] == [part.shard for part in found.parts], "none is lost"
    data = encode_index(index)
    commit(join(output, INDEX), data, lease.guard)
    sums[INDEX] = hashlib.sha256(data).hexdigest()
    _copy_records(source, output, lease)
    lease.check()
    if lost := sums.keys() - list_files(output):
        raise OutputError(f"{output}: {min(lost)} is not there any more; compact again")
    record = CompactRecord(annotations=absolute(url), sums=sums)
    commit(join(output, RECORD), record.encode(), lease.guard)
    target.write_summary(summary)
    rows = sum(row["rows"] for row in index)
    return Compaction(
        shards=len(index),
        rows=rows,
        files=len(sums) - 1,
        left_embeddings=found.extras.embeddings,
    )


def _claim(output: str, *, overwrite: bool) -> tuple[RunFolder, set[str]]:
    """Open the output folder; also name what an earlier `compact` wrote. Raises OutputError."""
    target = RunFolder(output)
    files = {name for name in target.files if not is_passing(name)}
    if files and RECORD not in files:
        raise OutputError(
            f"{output}: holds {min(files)}, which no compact here has recorded; "
            "choose another --output"
        )
    if SUMMARY in files and not overwrite:
        raise OutputError(
            f"{output}: holds compacted annotations already; choose another --output, or "
            "--overwrite to replace them"
        )
    own = {RECORD, INDEX, MANIFEST, RUN_RECORD, SUMMARY} & files
    own |= {name for name in files if _OWN_FILE.fullmatch(name) and _is_own(join(output, name))}
    own = (own | target.own_failures()) - target.behind_links(files)
    if strangers := files - own:
        raise OutputError(
            f"{output}: holds {min(strangers)}, which is none of compact's files, or lies behind a "
            "link; move it away, or choose another --output"
        )
    return target, own - {RECORD, SUMMARY}


def _is_own(url: str) -> bool:
    """Return whether a file says that it holds compacted annotations."""
    try:
        with open_read(url) as file:
            return "shards" in own_metadata(pq.read_metadata(file).metadata or {})
    except (OSError, pa.ArrowException, ValueError):
        return False


def _write(
    pairs: Iterable[Part], source: OutputFolder, output: str, lease: Lease, bytes_per_file: int
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Write all rows; return the rows of the index, and the SHA-256 of each file."""
    index: list[dict[str, Any]] = []
    sums: dict[str, str] = {}
    with closing(_checked(pairs, source)) as parts:
        for first in parts:
            name = _FILE_FORMAT.format(len(sums))
            rows, sums[name] = _write_file(output, name, first, parts, lease, bytes_per_file)
            index += rows
    return index, sums


def _checked(parts: Iterable[Part], source: OutputFolder) -> Generator[Part]:
    """Pass the parts on once it is known that each has the rows that its footer digests."""
    for footer, table in parts:
        if digest_of(table) != footer.report.digest:
            raise AnnotationError(
                f"{source.url}: the annotation of {footer.shard.path} has other rows than "
                "its digest is of; see `shardsift verify`"
            )
        yield footer, table


def _write_file(
    output: str,
    name: str,
    first: Part,
    others: Iterator[Part],
    lease: Lease,
    bytes_per_file: int,
) -> tuple[Sequence[dict[str, Any]], str]:
    """Take in parts until the file is large enough; return their rows of the index, and its sum."""
    rows: list[dict[str, Any]] = []
    with committing(join(output, name), lease.guard) as file:
        written = _HashedFile(file)
        schema = schema_of(first[0].extras)
        with pq.ParquetWriter(written, schema, **PARQUET_OPTIONS) as writer:
            groups = _Groups(writer)
            footer = first[0]
            for footer, table in chain([first], others):
                rows.append(index_row(footer, Slot(name, groups.rows)))
                groups.add(table)
                if written.tell() + groups.waiting_bytes >= bytes_per_file:
                    break
            groups.close()
            writer.add_key_value_metadata(_metadata(footer, rows, groups.qualities))
    return rows, written.sum.hexdigest()


class _Groups:
    """Writes rows in full row groups, but for the last one."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self.rows = 0
        self.qualities: list[NDArray[np.float32]] = []
        self.waiting_bytes = 0
        self._writer = writer
        self._waiting: list[Any] = []
        self._waiting_rows = 0

    def add(self, table: Any) -> None:
        """Take in the rows of a shard."""
        table = table.replace_schema_metadata(None)
        self.rows += len(table)
        self.qualities.append(table["quality"].drop_null().to_numpy())
        while len(table):
            taken = table.slice(0, ROW_GROUP_ROWS - self._waiting_rows)
            self._waiting.append(taken)
            self._waiting_rows += len(taken)
            self.waiting_bytes += taken.nbytes
            table = table.slice(len(taken))
            if self._waiting_rows == ROW_GROUP_ROWS:
                self.close()

    def close(self) -> None:
        """Write what waits."""
        if self._waiting:
            table = pa.concat_tables(self._waiting).unify_dictionaries().combine_chunks()
            self._writer.write_table(table, ROW_GROUP_ROWS)
        self._waiting, self._waiting_rows, self.waiting_bytes = [], 0, 0


class _HashedFile(io.RawIOBase):
    """Passes on what is written, and adds it up in a SHA-256 sum."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self.sum = hashlib.sha256()
        self._file = file
        self._position = 0

    def writable(self) -> bool:
        """Say yes."""
        return True

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._position

    def write(self, data: Any, /) -> int:
        """Write all of it."""
        self._file.write(data)
        self.sum.update(data)
        self._position += memoryview(data).nbytes
        return memoryview(data).nbytes


def _metadata(
    footer: Footer, rows: Sequence[Mapping[str, Any]], qualities: Sequence[NDArray[np.float32]]
) -> dict[str, str]:
    """Tell what a file holds; `footer` is that of any of its shards."""
    errors: Counter[str] = Counter()
    for row in rows:
        errors.update(json.loads(row["errors"]))
    metadata = {
        "fingerprint": footer.fingerprint,
        "config": json.dumps(footer.config, sort_keys=True),
        "extras": footer.extras.as_json(),
        "extras_digest": footer.extras.digest(),
        "shards": str(len(rows)),
        "rows": str(sum(row["rows"] for row in rows)),
        "errors": json.dumps(dict(sorted(errors.items()))),
        "sketch": base64.b64encode(quantile_sketch(np.concatenate(qualities))).decode(),
        "digest": digest_of_shards(row["digest"] for row in rows),
        "version": __version__,
    }
    return {METADATA_PREFIX + key: value for key, value in metadata.items()}


def _copy_records(source: OutputFolder, output: str, lease: Lease) -> None:
    """Copy what else the run left behind, but for the summary."""
    names = {RUN_RECORD, MANIFEST, *source.failed} & source.files
    for name in sorted(names):
        commit(join(output, name), read_bytes(join(source.url, name)), lease.guard)
