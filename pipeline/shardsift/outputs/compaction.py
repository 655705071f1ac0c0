"""`compact`: many small annotation files into few large ones."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO

import pyarrow.parquet as pq

from shardsift.errors import AnnotationError, OutputError
from shardsift.outputs.digest import digest_of
from shardsift.outputs.json_records import COMPACTING, CompactRecord, RunSummary
from shardsift.outputs.output_folder import (
    MANIFEST,
    RUN_RECORD,
    AnnotatedShard,
    AnnotationSet,
    find_annotations,
    read_annotation_set,
)
from shardsift.outputs.run_folder import SUMMARY, RunFolder, check_apart, check_output, is_passing
from shardsift.outputs.sealed_table import (
    METADATA_PREFIX,
    PARQUET_OPTIONS,
    ROW_GROUP_ROWS,
    Footer,
    read_metadata,
    schema_of,
)
from shardsift.storage.files import (
    ANNOTATION_SUFFIX,
    Summing,
    absolute,
    committing,
    join,
    list_files,
    read_bytes,
)
from shardsift.storage.lease import Lease, held
from shardsift.threads import Track, map_ordered, no_track

BYTES_PER_FILE = 256 << 20
_THREADS = 4
_FILE_FORMAT = "annotations-{:05d}" + ANNOTATION_SUFFIX
_OWN_FILE = re.compile(r"annotations-\d{5,}\.parquet")

_OF_RUN = ("fingerprint", "config", "measures", "version")
"""Keys of footers whose values all shards of a run share, as a rule."""

ShardRows = tuple[Footer, Any]
"""The annotation of a shard: its footer and its rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Compaction:
    """Result of `compact`: numbers of files read, of rows, and of files written.

    `left_embeddings` is true if there are embeddings, which are not copied.
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
    """Write the annotations of a finished run into files of about `bytes_per_file` bytes.

    Equal annotations give equal files. `filter`, `stats`, `report` and `compare` read the output
    like `url`; it can't be extended.

    Raises:
        UserError: if the run isn't complete, or the output holds something else.
        AnnotationError: if a file isn't one of ours, or has other rows than its footer says.
    """
    source = find_annotations(url)
    check_apart(output, url)
    _claim(output, overwrite=overwrite)
    # raises unless complete and of one configuration
    found = read_annotation_set(source, track=track)
    source.check_manifest()
    summary = source.read_summary()
    assert summary, "a run that is complete has one"
    check_output(output, ())
    with held(output) as lease:
        # another command may have claimed it meanwhile
        target, own = _claim(output, overwrite=overwrite)
        target.sweep()
        target.lease = lease
        target.delete_all([SUMMARY])  # readers take it for the end of a run
        target.delete_all(own)
        return _compact(found, summary, target, lease, bytes_per_file, track)


def _compact(
    found: AnnotationSet,
    summary: RunSummary,
    target: RunFolder,
    lease: Lease,
    bytes_per_file: int,
    track: Track,
) -> Compaction:
    source, output = found.folder, target.url
    record = CompactRecord(annotations=absolute(source.url))
    target.commit(COMPACTING, record.encode())
    sums: dict[str, str] = {}
    with closing(_read(found, track)) as shards:
        for first in shards:
            name = _FILE_FORMAT.format(len(sums))
            with committing(join(output, name), lease.guard) as file:
                sums[name] = _write_file(file, found, chain([first], shards), bytes_per_file)
    files = len(sums)
    for name in sorted({RUN_RECORD, MANIFEST, *source.failed} & source.files):
        data = read_bytes(join(source.url, name))
        target.commit(name, data)
        sums[name] = hashlib.sha256(data).hexdigest()
    lease.check()
    if lost := sums.keys() - list_files(output):
        raise OutputError(f"{output}: {min(lost)} has disappeared; compact again")
    sums[SUMMARY] = hashlib.sha256(summary.encode()).hexdigest()
    target.commit(COMPACTING, record.model_copy(update={"sums": sums}).encode())
    target.write_summary(summary)
    return Compaction(
        shards=len(found.shards),
        rows=found.rows,
        files=files,
        left_embeddings=bool(found.contents.embeddings),
    )


def _claim(output: str, *, overwrite: bool) -> tuple[RunFolder, set[str]]:
    """Open the output folder; also list the files of an earlier `compact`. Raises OutputError."""
    target = RunFolder(output)
    files = {name for name in target.files if not is_passing(name)}
    records = {COMPACTING, MANIFEST, RUN_RECORD, SUMMARY, *target.own_failures()}

    def is_own(name: str) -> bool:
        if COMPACTING not in files or name in records:
            return COMPACTING in files
        return bool(_OWN_FILE.fullmatch(name)) and "shards" in read_metadata(join(output, name))

    target.check_own("compact", files, is_own)
    if SUMMARY in files and not overwrite:
        raise OutputError(
            f"{output}: already holds compacted annotations; choose another --output, or "
            "--overwrite to replace them"
        )
    return target, files - {COMPACTING, SUMMARY}


def _read(found: AnnotationSet, track: Track) -> Generator[ShardRows]:
    """Check digests, and yield the rows of all shards."""

    def read(annotated: AnnotatedShard) -> ShardRows:
        footer, table = found.folder.annotations.read_with_footer(annotated.name)
        if digest_of(table) != annotated.digest:
            raise AnnotationError(
                f"{found.url}: the annotation of {annotated.shard} has rows that don't match its "
                "digest; see `shardsift verify`"
            )
        return footer, table

    shards = map_ordered(read, found.shards, _THREADS)
    yield from track(shards, "compacting", len(found.shards))


def _write_file(
    file: BinaryIO, found: AnnotationSet, shards: Iterator[ShardRows], bytes_per_file: int
) -> str:
    """Write shards in row groups of their own until the file is large enough; return its SHA-256.

    An empty shard has none. The file's footer holds the footers of all annotations as JSON, and
    separately their common keys.
    """
    footers: list[dict[str, str]] = []
    written = Summing(file)
    with pq.ParquetWriter(written, schema_of(found.contents), **PARQUET_OPTIONS) as writer:
        for footer, rows in shards:
            footers.append(footer.as_metadata())
            if len(rows):
                writer.write_table(rows.replace_schema_metadata(None), ROW_GROUP_ROWS)
            if written.tell() >= bytes_per_file:
                break
        whole = footers[0]
        alike = [k for k in _OF_RUN if k in whole and all(e.get(k) == whole[k] for e in footers)]
        own = [{k: v for k, v in each.items() if k not in alike} for each in footers]
        metadata = {key: whole[key] for key in alike} | {"shards": json.dumps(own)}
        writer.add_key_value_metadata({METADATA_PREFIX + k: v for k, v in metadata.items()})
    return written.sha256
