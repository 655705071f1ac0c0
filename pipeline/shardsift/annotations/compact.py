"""Many small annotation files into few large ones, nothing lost."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from shardsift import __version__
from shardsift.annotations.compacted import INDEX, Slot, encode_index, index_row
from shardsift.annotations.folder import (
    MANIFEST,
    RUN_RECORD,
    SUMMARY,
    OutputFolder,
    RunFolder,
    as_json,
    check_apart,
    check_output,
    find_annotations,
)
from shardsift.annotations.parquet import PARQUET_OPTIONS, ROW_GROUP_ROWS, SCHEMA, Footer
from shardsift.annotations.sketch import quantile_sketch
from shardsift.annotations.survey import survey
from shardsift.errors import AnnotationError, OutputError
from shardsift.storage.files import (
    ANNOTATION_SUFFIX,
    absolute,
    commit,
    committing,
    delete,
    join,
    read_bytes,
)
from shardsift.storage.redaction import redact
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
    """What came of it: files that were read, their rows, and files that were written."""

    shards: int
    rows: int
    files: int


@dataclass(kw_only=True, slots=True)
class _Written:
    """What a file holds, shard by shard."""

    rows: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    groups: int = 0
    errors: Counter[str] = field(default_factory=Counter[str])
    qualities: list[NDArray[np.float32]] = field(default_factory=list[NDArray[np.float32]])
    count: int = 0


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
    check_apart(output, url)
    source = find_annotations(url)
    target = _claim(output, overwrite=overwrite)
    found = survey(url, track=track)  # complete, and of one configuration
    names = [part.name for part in found.parts]
    check_output(output, ())
    target.sweep()
    delete(join(output, SUMMARY))  # readers look for it
    target.delete_all(target.files - {RECORD})
    commit(join(output, RECORD), as_json({"annotations": absolute(url)}))

    tables = map_ordered(source.annotations.read, names, _THREADS)
    pairs = zip(source.read_footers(names), tables, strict=True)
    index, files = _write(track(pairs, "compacting", len(names)), source, output, bytes_per_file)
    assert [row["shard"] for row in index] == [part.shard for part in found.parts], "none is lost"
    commit(join(output, INDEX), encode_index(index))
    _copy_records(source, output)
    return Compaction(shards=len(index), rows=sum(row["rows"] for row in index), files=files)


def _claim(output: str, *, overwrite: bool) -> RunFolder:
    """Open the output folder, of which everything may be deleted. Raises OutputError."""
    target = RunFolder(output)
    if target.files and RECORD not in target.files:
        raise OutputError(
            f"{redact(output)}: holds {min(target.files)}, which no compact here has recorded; "
            "choose another --output"
        )
    if SUMMARY in target.files and not overwrite:
        raise OutputError(
            f"{redact(output)}: holds compacted annotations already; choose another --output, or "
            "--overwrite to replace them"
        )
    known = {RECORD, INDEX, MANIFEST, RUN_RECORD, SUMMARY, *target.failed}
    strangers = {name for name in target.files - known if not _OWN_FILE.fullmatch(name)}
    if strangers:
        raise OutputError(
            f"{redact(output)}: holds {min(strangers)}, which is none of compact's files; move it "
            "away, or choose another --output"
        )
    return target


def _write(
    pairs: Iterable[Part], source: OutputFolder, output: str, bytes_per_file: int
) -> tuple[list[dict[str, Any]], int]:
    """Write all rows; return the rows of the index, and how many files there are."""
    index: list[dict[str, Any]] = []
    files = 0
    with closing(_checked(pairs, source)) as parts:
        for first in parts:
            name = _FILE_FORMAT.format(files)
            index += _write_file(join(output, name), name, chain([first], parts), bytes_per_file)
            files += 1
    return index, files


def _checked(parts: Iterable[Part], source: OutputFolder) -> Generator[Part]:
    """Pass the parts on once it is known that each has the rows that its footer counts."""
    for footer, table in parts:
        report = footer.report
        scored = report.rows - sum(report.errors.values())
        if len(table) != report.rows or len(table) - table["quality"].null_count != scored:
            raise AnnotationError(
                f"{redact(source.url)}: the annotation of {footer.shard.path} has other rows than "
                "its footer counts; see `shardsift verify`"
            )
        yield footer, table


def _write_file(
    url: str, name: str, parts: Iterator[Part], bytes_per_file: int
) -> Sequence[dict[str, Any]]:
    """Take in parts until the file is large enough; return their rows of the index."""
    written = _Written()
    fingerprint = config = ""
    with (
        committing(url) as file,
        pq.ParquetWriter(file, SCHEMA, **PARQUET_OPTIONS) as writer,
    ):
        for footer, table in parts:
            groups = -(-len(table) // ROW_GROUP_ROWS)
            if groups:
                writer.write_table(table, ROW_GROUP_ROWS)
            written.rows.append(index_row(footer, Slot(name, written.groups, groups)))
            written.groups += groups
            written.count += len(table)
            written.errors.update(footer.report.errors)
            written.qualities.append(table["quality"].drop_null().to_numpy())
            fingerprint, config = footer.fingerprint, json.dumps(footer.config, sort_keys=True)
            if file.tell() >= bytes_per_file:
                break
        sketch = quantile_sketch(np.concatenate(written.qualities))
        metadata = {
            "fingerprint": fingerprint,
            "config": config,
            "shards": str(len(written.rows)),
            "rows": str(written.count),
            "errors": json.dumps(dict(sorted(written.errors.items()))),
            "sketch": base64.b64encode(sketch).decode(),
            "version": __version__,
        }
        writer.add_key_value_metadata({f"shardsift.{k}": v for k, v in metadata.items()})
    return written.rows


def _copy_records(source: OutputFolder, output: str) -> None:
    """Copy what else the run left behind, the summary last."""
    names = {RUN_RECORD, MANIFEST, *source.failed} & source.files
    for name in [*sorted(names), SUMMARY]:
        commit(join(output, name), read_bytes(join(source.url, name)))
