"""Proof that keep-lists are what a filter wrote, of the annotations that it names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shardsift.annotations.digest import digest_of
from shardsift.annotations.findings import Findings, Problem, Unsound, leftovers, strangers
from shardsift.annotations.folder import (
    SUMMARY,
    Annotations,
    OutputFolder,
    RunFolder,
    find_annotations,
    is_passing,
)
from shardsift.annotations.parquet import digest_in
from shardsift.annotations.seal import is_broken
from shardsift.errors import AnnotationError, InputError, UserError
from shardsift.filter.keep_list import (
    KEEP_LIST,
    SCHEMA,
    check_keep_list,
    parse_keep_list_footer,
)
from shardsift.filter.output import RECORD, UIDS, Filtered, read_filtered
from shardsift.redaction import reason
from shardsift.storage.files import followed, is_annotation, join, read_bytes, sum_of
from shardsift.threads import Track, map_ordered, no_track

_AGAIN = "filter again, with --overwrite"
_THREADS = 16


@dataclass(frozen=True, slots=True)
class _File:
    """A keep-list: its rows if it is sound, and whether they were compared with an annotation."""

    rows: int = 0
    compared: bool = False
    problem: Problem | None = None


def verify_filtered(folder: RunFolder, track: Track = no_track) -> Findings:
    """Check records, keep-lists and uids, and the kept rows by the annotations, if these are there.

    Raises:
        OSError: if a file can't be fetched.
    """
    found = Findings(problems=list(leftovers(folder)))
    try:
        filtered = read_filtered(folder.url)
    except InputError as error:
        found.problems.append(Problem(place=SUMMARY, trouble=str(error), remedy=_AGAIN))
        return found
    summary = filtered.summary
    files = {name for name in folder.files if not is_passing(name)}
    scores = _find_annotations(filtered, found)
    prefix = f"{KEEP_LIST}/"
    names = sorted(name.removeprefix(prefix) for name in files if name.startswith(prefix))
    lists = [name for name in names if is_annotation(name)]

    def check(name: str) -> _File:
        return _check_file(filtered, name, scores.annotations if scores else None)

    rows = compared = 0
    for file in track(map_ordered(check, lists, _THREADS), "checking keep-lists", len(lists)):
        rows, compared = rows + file.rows, compared + file.compared
        if file.problem:
            found.problems.append(file.problem)
    found.problems += _check_totals(filtered, files, lists, rows)
    if scores and "keep-list" in summary.emitted:
        found.problems += _missing(sorted(scores.committed - set(lists)))
    found.counts = {
        "keep-lists": len(lists),
        "rows checked": rows,
        "keep-lists compared with annotations": compared,
    }
    return found


def _find_annotations(filtered: Filtered, found: Findings) -> OutputFolder | None:
    try:
        return find_annotations(followed(filtered.record.annotations, "filter again"))
    except (UserError, AnnotationError) as error:
        found.unchecked.append(f"kept rows were not compared with their annotations: {error}")
        return None


def _check_file(filtered: Filtered, name: str, annotations: Annotations | None) -> _File:
    place = f"{KEEP_LIST}/{name}"
    try:
        table, digest = _read(filtered, name)
        if annotations:
            _compare(table, digest, name, annotations)
    except Unsound as fault:
        return _File(problem=Problem(place=place, trouble=str(fault), remedy=_AGAIN))
    return _File(rows=len(table), compared=annotations is not None)


def _read(filtered: Filtered, name: str) -> tuple[Any, str]:
    """Return a sound keep-list, and the digest of its annotation. Raises Unsound."""
    data = read_bytes(join(join(filtered.url, KEEP_LIST), name))
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        footer = parse_keep_list_footer(file.schema_arrow.metadata or {})
        table = file.read(use_threads=False).cast(SCHEMA)
        table.validate(full=True)
        check_keep_list(footer, len(table), name, filtered.record)
    except (OSError, pa.ArrowException, ValueError, KeyError) as error:
        raise Unsound(f"is damaged, or of another filter: {reason(error)}") from error
    if digest_of(table) != footer.digest:
        raise Unsound("its rows are not those that its digest is of")
    if is_broken(data):
        raise Unsound("is damaged: its bytes are not those that were written")
    if set(table["shard"].unique().to_pylist()) - {footer.shard}:
        raise Unsound("its rows name another shard")
    return table, footer.annotation


def _compare(table: Any, digest: str, name: str, annotations: Annotations) -> None:
    """Raise Unsound unless the rows are some of the annotation's, in order."""
    try:
        rows = annotations.read(name, SCHEMA.names)
    except (AnnotationError, KeyError) as error:
        raise Unsound(f"its annotation can't be read: {reason(error)}") from error
    if digest_in(rows) != digest:
        raise Unsound("its annotation has changed since it was filtered")
    index_N = table["index"].to_numpy()
    if (np.diff(index_N, prepend=-1) <= 0).any() or int(index_N.max(initial=-1)) >= len(rows):
        raise Unsound("its rows are out of order, or not the annotation's")
    if digest_of(rows.replace_schema_metadata(None).take(index_N)) != digest_of(table):
        raise Unsound("its rows are not those of the annotation")


def _check_totals(
    filtered: Filtered, files: set[str], lists: Sequence[str], rows: int
) -> Iterator[Problem]:
    summary = filtered.summary
    counts = (summary.kept, summary.below_threshold, summary.tied_at_threshold)
    left_out = (summary.excluded_by_where, summary.excluded_by_list)
    left_out += (summary.duplicates, summary.without_value)
    if sum(counts) + sum(left_out) + sum(summary.errors.values()) != summary.rows:
        yield Problem(place=SUMMARY, trouble="its counts don't add up", remedy=_AGAIN)
    if "keep-list" in summary.emitted and (len(lists), rows) != (summary.shards, summary.kept):
        told = f"{summary.kept:,} kept rows of {summary.shards:,} shards"
        trouble = f"{SUMMARY} tells of {told}, and there are {rows:,} sound ones of {len(lists):,}"
        yield Problem(place=KEEP_LIST, trouble=trouble, remedy=_AGAIN)
    uids = summary.uids
    if uids and (UIDS not in files or sum_of(join(filtered.url, UIDS)) != uids.sha256):
        yield Problem(place=UIDS, trouble="is not what was written", remedy=_AGAIN)
    known = {RECORD, SUMMARY, *(f"{KEEP_LIST}/{name}" for name in lists)}
    known |= {UIDS}
    # What `--emit shards` makes is a folder of its own.
    known |= {name for name in files if name.startswith("shards/")}
    yield from strangers(files - known, "is none of filter's files")


def _missing(names: Sequence[str]) -> Iterator[Problem]:
    for name in names:
        trouble = "is missing, though there is an annotation"
        yield Problem(place=f"{KEEP_LIST}/{name}", trouble=trouble, remedy=_AGAIN)
