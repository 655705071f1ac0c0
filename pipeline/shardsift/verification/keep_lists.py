"""Checks that keep-lists are unchanged, and belong to the annotations that the filter names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from shardsift.errors import AnnotationError, InputError, UserError
from shardsift.filtering.kept_folder import (
    KEEP_LIST,
    LISTS,
    RECORD,
    SCHEMA,
    UIDS,
    Filtered,
    KeepListFile,
    read_filtered,
)
from shardsift.outputs.beside import Beside
from shardsift.outputs.digest import digest_of, is_broken
from shardsift.outputs.output_folder import (
    AnnotatedShard,
    OutputFolder,
    annotated_shard,
    find_annotations,
)
from shardsift.outputs.run_folder import SUMMARY, RunFolder, is_passing
from shardsift.outputs.sealed_table import AnnotationFiles, digest_in
from shardsift.redaction import reason
from shardsift.storage.files import followed, is_annotation, join, read_bytes, sum_of
from shardsift.threads import Track, no_track
from shardsift.verification.findings import Findings, Problem, Unsound, leftovers, strangers, walk

_AGAIN = "filter again, with --overwrite"
_THREADS = 16


def verify_filtered(folder: RunFolder, track: Track = no_track) -> Findings:
    """Check records, keep-lists and uids, and the kept rows by the annotations, if these are there.

    Raises OutputError if a file can't be fetched.
    """
    found = Findings(problems=list(leftovers(folder)))
    try:
        filtered = read_filtered(folder.url)
    except InputError as error:
        found.problems.append(Problem(place=SUMMARY, trouble=str(error), remedy=_AGAIN))
        return found
    files = {name for name in folder.files if not is_passing(name)}
    scores = _find_annotations(filtered, found)
    beside = _find_beside(filtered, found)
    prefix = f"{KEEP_LIST}/"
    names = sorted(name.removeprefix(prefix) for name in files if name.startswith(prefix))
    lists = [name for name in names if is_annotation(name)]

    annotations = scores and scores.annotations
    rows = [
        *walk(
            found,
            lists,
            lambda name: _check_file(filtered, name, annotations, beside),
            lambda name, fault: Problem(place=f"{prefix}{name}", trouble=str(fault), remedy=_AGAIN),
            track,
            "checking keep-lists",
            len(lists),
            _THREADS,
        )
    ]
    found.problems += _check_totals(filtered, files, lists, sum(rows))
    if scores and "keep-list" in filtered.summary.emitted:
        trouble = "is missing, but the annotation exists"
        found.problems += (
            Problem(place=f"{prefix}{name}", trouble=trouble, remedy=_AGAIN)
            for name in sorted(scores.committed - {*lists})
        )
    found.counts = {
        "keep-lists": len(lists),
        "rows checked": sum(rows),
        "keep-lists compared with annotations": len(rows) if scores else 0,
    }
    return found


def _find_annotations(filtered: Filtered, found: Findings) -> OutputFolder | None:
    try:
        return find_annotations(followed(filtered.record.annotations, "filter again"))
    except (UserError, AnnotationError) as error:
        found.unchecked.append(f"kept rows were not compared with their annotations: {error}")
        return None


def _find_beside(filtered: Filtered, found: Findings) -> Sequence[Beside]:
    """Open the outputs of `--with`; none if one of them is gone."""
    try:
        places = [followed(url, "filter again") for url in filtered.record.beside]
        return [Beside(find_annotations(url), url, may_lack=True) for url in places]
    except (UserError, AnnotationError) as error:
        found.unchecked.append(f"kept rows were not compared with outputs of --with: {error}")
        return []


def _check_file(
    filtered: Filtered, name: str, annotations: AnnotationFiles | None, beside: Sequence[Beside]
) -> int:
    """Return the number of rows of a keep-list. Raises Unsound."""
    data = read_bytes(join(join(filtered.url, KEEP_LIST), name))
    try:
        kept = filtered.parse(pa.BufferReader(data), name)
    except (OSError, pa.ArrowException, ValueError, KeyError) as error:
        raise Unsound(f"is damaged, or of another filter: {reason(error)}") from error
    if is_broken(data):
        raise Unsound("is damaged: its bytes have changed")
    if {*kept.table["shard"].unique().to_pylist()} - {kept.footer.shard}:
        raise Unsound("its rows name another shard")
    if annotations:
        _compare(kept, name, annotations)
        _compare_beside(kept, annotated_shard(name, annotations.footer(name)), beside)
    return len(kept.table)


def _compare(kept: KeepListFile, name: str, annotations: AnnotationFiles) -> None:
    """Raise Unsound unless the rows are some of the annotation's, in order."""
    try:
        rows = annotations.read(name, SCHEMA.names)
    except (AnnotationError, KeyError) as error:
        raise Unsound(f"its annotation can't be read: {reason(error)}") from error
    if digest_in(rows) != kept.footer.annotation:
        raise Unsound("its annotation has changed since it was filtered")
    index_N = kept.table["index"].to_numpy()
    if (np.diff(index_N, prepend=-1) <= 0).any() or int(index_N.max(initial=-1)) >= len(rows):
        raise Unsound("its rows are out of order, or missing in the annotation")
    if digest_of(rows.replace_schema_metadata(None).take(index_N)) != kept.footer.digest:
        raise Unsound("its rows differ from the annotation's")


def _compare_beside(
    kept: KeepListFile, annotated: AnnotatedShard, beside: Sequence[Beside]
) -> None:
    """Raise Unsound unless the outputs that the rows were chosen by are as they were."""
    for output, digest in zip(beside, kept.footer.beside, strict=False):
        try:
            report = output.report(annotated)
        except (AnnotationError, InputError) as error:
            raise Unsound(f"outputs of --with don't match any more: {reason(error)}") from error
        if digest is not None and (report is None or report.digest != digest):
            raise Unsound(f"{output.url}, an output of --with, has changed since")


def _check_totals(
    filtered: Filtered, files: set[str], lists: Sequence[str], rows: int
) -> Iterator[Problem]:
    summary = filtered.summary
    if summary.counted != summary.rows:
        yield Problem(place=SUMMARY, trouble="its counts don't add up", remedy=_AGAIN)
    if "keep-list" in summary.emitted and (len(lists), rows) != (summary.shards, summary.kept):
        told = f"{summary.kept:,} kept rows of {summary.shards:,} shards"
        trouble = f"{SUMMARY} counts {told}, but there are {rows:,} sound ones of {len(lists):,}"
        yield Problem(place=KEEP_LIST, trouble=trouble, remedy=_AGAIN)
    uids = summary.uids
    if uids and (UIDS not in files or sum_of(join(filtered.url, UIDS)) != uids.sha256):
        yield Problem(place=UIDS, trouble="has changed since it was written", remedy=_AGAIN)
    for name, sha256 in summary.paths.sha256.items() if summary.paths else ():
        if name not in files or sum_of(join(filtered.url, name)) != sha256:
            yield Problem(place=name, trouble="has changed since it was written", remedy=_AGAIN)
    known = {RECORD, SUMMARY, *LISTS, *(f"{KEEP_LIST}/{name}" for name in lists)}
    known |= {name for name in files if name.startswith("shards/")}
    yield from strangers(files - known, "is not a file of `filter`")
