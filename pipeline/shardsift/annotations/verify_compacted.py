"""Tell whether compacted annotations are what `compact` wrote, and all of what a run has scored."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from shardsift.annotations.compact import RECORD
from shardsift.annotations.digest import digest_of
from shardsift.annotations.documents import CompactRecord, RunSummary
from shardsift.annotations.findings import (
    Findings,
    Problem,
    Unsound,
    leftovers,
    strangers,
    unfinished,
)
from shardsift.annotations.folder import (
    MANIFEST,
    RUN_RECORD,
    SUMMARY,
    OutputFolder,
)
from shardsift.annotations.manifest import read_outcomes
from shardsift.annotations.parquet import Footer
from shardsift.annotations.soundness import check_failure
from shardsift.documents import DocumentError
from shardsift.errors import AnnotationError
from shardsift.records import ShardReport
from shardsift.shards.names import annotation_name
from shardsift.storage.files import join, read_bytes, sum_of
from shardsift.threads import Track, map_ordered, no_track

_AGAIN = "compact again, with --overwrite"
_THREADS = 4


def verify_compacted(folder: OutputFolder, track: Track = no_track) -> Findings:
    """Check every file of the folder by its sum, every row by the digests, and the manifest.

    Raises:
        AnnotationError: if the index can't be read.
    """
    found = Findings()
    files = _check_sums(folder, found)
    names = sorted(folder.committed)
    check = partial(_check_rows, folder)
    footers: dict[str, Footer] = {}
    pairs = map_ordered(check, folder.read_footers(names), _THREADS)
    for footer, problem in track(pairs, "checking shards", len(names)):
        footers[footer.shard.path] = footer
        if problem:
            found.problems.append(problem)
    found.problems += _check_results(folder, footers)
    found.problems += (
        Problem(place=name, trouble=str(fault), remedy=_AGAIN)
        for name in sorted(folder.failed)
        if (fault := check_failure(join(folder.url, name), None))
    )
    rows = sum(footer.report.rows for footer in footers.values())
    found.counts = {"shards": len(names), "files": files, "rows checked": rows}
    return found


def _check_sums(folder: OutputFolder, found: Findings) -> int:
    """Compare all files with the sums in the record; return how many there are."""
    try:
        if RECORD not in folder.files:
            raise DocumentError("is missing")
        record = CompactRecord.decode(read_bytes(join(folder.url, RECORD)))
    except DocumentError as error:
        found.problems.append(Problem(place=RECORD, trouble=str(error), remedy=_AGAIN))
        return 0
    for name, expected in record.sums.items():
        trouble = ""
        if name not in folder.files:
            trouble = "is missing"
        elif sum_of(join(folder.url, name)) != expected:
            trouble = "its bytes are not those that were written"
        if trouble:
            found.problems.append(Problem(place=name, trouble=trouble, remedy=_AGAIN))
    known = {*record.sums, RECORD, RUN_RECORD, MANIFEST, SUMMARY, *folder.failed}
    found.problems += strangers(folder.files - known, "is none of compact's files")
    found.problems += leftovers(folder)
    return len(record.sums)


def _check_rows(folder: OutputFolder, footer: Footer) -> tuple[Footer, Problem | None]:
    report = footer.report
    try:
        table = folder.annotations.read(annotation_name(report.shard))
        if digest_of(table.replace_schema_metadata(None)) != report.digest:
            raise AnnotationError("its rows are not those that its digest is of")
    except AnnotationError as error:
        return footer, Problem(place=report.shard, trouble=str(error), remedy=_AGAIN)
    return footer, None


def _check_results(folder: OutputFolder, footers: dict[str, Footer]) -> Iterator[Problem]:
    """Compare the index with the manifest of the run, and its summary with that."""
    url, known = folder.url, dict(footers)
    if SUMMARY not in folder.files:
        yield unfinished("compact")
        return
    try:
        summary = RunSummary.decode(read_bytes(join(url, SUMMARY)))
    except DocumentError as error:
        yield Problem(place=SUMMARY, trouble=str(error), remedy=_AGAIN)
        return
    if MANIFEST not in folder.files:
        yield Problem(place=MANIFEST, trouble="is missing", remedy=_AGAIN)
        return
    try:
        if sum_of(join(url, MANIFEST)) != summary.manifest:
            raise Unsound("is not the manifest that the summary is of")
        for shard, report in read_outcomes(join(url, MANIFEST)):
            if report and not _agree(known.pop(shard, None), report):
                raise Unsound(f"disagrees with the index about {shard}")
        if known:
            raise Unsound(f"knows nothing of {min(known)}")
    except (AnnotationError, Unsound) as error:
        yield Problem(place=MANIFEST, trouble=str(error), remedy=_AGAIN)


def _agree(footer: Footer | None, told: ShardReport) -> bool:
    return footer is not None and (footer.report.rows, footer.report.digest) == (
        *(told.rows, told.digest),
    )
