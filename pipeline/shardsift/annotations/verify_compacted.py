"""Proof that compacted annotations are what `compact` wrote, and all that a run has scored."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from shardsift.annotations.digest import digest_of
from shardsift.annotations.documents import COMPACTING, CompactRecord, RunSummary
from shardsift.annotations.findings import Findings, Problem, leftovers, strangers, unfinished
from shardsift.annotations.folder import MANIFEST, RUN_RECORD, SUMMARY, OutputFolder
from shardsift.annotations.parquet import digest_in
from shardsift.annotations.soundness import check_failure
from shardsift.documents import DocumentError
from shardsift.errors import AnnotationError
from shardsift.storage.files import join, read_bytes, sum_of
from shardsift.threads import Track, map_ordered, no_track

_AGAIN = "compact again, with --overwrite"
_THREADS = 4


def verify_compacted(folder: OutputFolder, track: Track = no_track) -> Findings:
    """Check each file of the folder by its sum, and each row by the digests of the manifest.

    The manifest is checked by its sum in the summary. Raises AnnotationError if it can't be read.
    """
    found = Findings()
    files = _check_sums(folder, found)
    names = sorted(folder.committed)
    found.problems += _check_summary(folder)
    checked = map_ordered(partial(_check_rows, folder), names, _THREADS)
    problems = track(checked, "checking shards", len(names))
    found.problems += (problem for problem in problems if problem)
    found.problems += (
        Problem(place=name, trouble=str(fault), remedy=_AGAIN)
        for name in sorted(folder.failed)
        if (fault := check_failure(join(folder.url, name), None))
    )
    rows = sum(footer.report.rows for footer in folder.read_footers(names))
    found.counts = {"shards": len(names), "files": files, "rows checked": rows}
    return found


def _check_sums(folder: OutputFolder, found: Findings) -> int:
    """Compare all files with the sums in the record; return how many there are."""
    try:
        record = CompactRecord.decode(read_bytes(join(folder.url, COMPACTING)))
    except DocumentError as error:
        found.problems.append(Problem(place=COMPACTING, trouble=str(error), remedy=_AGAIN))
        return 0
    for name, expected in record.sums.items():
        trouble = ""
        if name not in folder.files:
            trouble = "is missing"
        elif sum_of(join(folder.url, name)) != expected:
            trouble = "its bytes are not those that were written"
        if trouble:
            found.problems.append(Problem(place=name, trouble=trouble, remedy=_AGAIN))
    known = {*record.sums, COMPACTING, RUN_RECORD, MANIFEST, SUMMARY, *folder.failed}
    found.problems += strangers(folder.files - known, "is none of compact's files")
    found.problems += leftovers(folder)
    return len(record.sums)


def _check_rows(folder: OutputFolder, name: str) -> Problem | None:
    trouble = "its rows are not those that its digest is of"
    try:
        table = folder.annotations.read(name)
        if digest_of(table.replace_schema_metadata(None)) == digest_in(table):
            return None
    except AnnotationError as error:
        trouble = str(error)
    return Problem(place=name, trouble=trouble, remedy=_AGAIN)


def _check_summary(folder: OutputFolder) -> Iterator[Problem]:
    if SUMMARY not in folder.files:
        yield unfinished("compact")
        return
    try:
        summary = RunSummary.decode(read_bytes(join(folder.url, SUMMARY)))
    except DocumentError as error:
        yield Problem(place=SUMMARY, trouble=str(error), remedy=_AGAIN)
        return
    if sum_of(join(folder.url, MANIFEST)) != summary.manifest:
        trouble = "is not the manifest that the summary is of"
        yield Problem(place=MANIFEST, trouble=trouble, remedy=_AGAIN)
