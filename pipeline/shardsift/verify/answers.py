"""Tell whether answers are those that were written, and of the annotations as they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from shardsift.asking.answers import AnswerReport, read_answers
from shardsift.asking.documents import AskRecord, AskSummary
from shardsift.asking.folder import RECORD, AskFolder, summarise
from shardsift.config import Extras
from shardsift.documents import DocumentError
from shardsift.errors import AnnotationError, OutputError, UserError
from shardsift.outputs.folder import SUMMARY, find_annotations
from shardsift.outputs.sealed_table import Footer
from shardsift.outputs.spreads import spreads_of
from shardsift.redaction import reason
from shardsift.shards.names import annotation_name
from shardsift.storage.files import followed, join, read_bytes
from shardsift.threads import Track, map_ordered, no_track
from shardsift.verify.findings import (
    Findings,
    Problem,
    Unsound,
    failures,
    leftovers,
    strangers,
    unfinished,
)

_THREADS = 16
_AGAIN = "--repair, then run the same ask command again"


def verify_asked(folder: AskFolder, track: Track = no_track) -> Findings:
    """Check every byte of all answers, and that they belong to the annotations' embeddings.

    Raises:
        OutputError: if the record doesn't tell what should be here.
    """
    found = Findings()
    record = folder.read_record()
    footers = _read_footers(record, found)
    names = sorted(folder.committed)
    sound: list[AnswerReport] = []

    def check(name: str) -> AnswerReport | Problem:
        try:
            return _check_answers(folder, name, record, footers)
        except Unsound as fault:
            if name in (footers or {}) or folder.is_own(name):
                return _wrong(name, str(fault))
            return Problem(place=name, trouble=str(fault), remedy="delete it yourself")

    for outcome in track(map_ordered(check, names, _THREADS), "checking shards", len(names)):
        if isinstance(outcome, Problem):
            found.problems.append(outcome)
        else:
            sound.append(outcome)
    missing = sorted({} if footers is None else footers.keys() - {*names})
    found.problems += (_wrong(name, "is missing") for name in missing)
    shards = [footer.shard.path for footer in (footers or {}).values()]
    found.problems += failures(folder, shards, "tells of a shard that was given up", _AGAIN)
    found.problems += _check_others(folder, sound, all_sound=len(sound) == len(names))
    found.counts = {
        "shards": len(names),
        "sound": len(sound),
        "rows checked": sum(report.rows for report in sound),
    }
    return found


def _read_footers(record: AskRecord, found: Findings) -> dict[str, Footer] | None:
    """Read what annotations say by their names; None if they can't be found."""
    try:
        source = find_annotations(followed(record.annotations, "ask again"))
        footers = source.read_footers(sorted(source.committed))
        return {annotation_name(footer.shard.path): footer for footer in footers}
    except (UserError, AnnotationError) as error:
        found.unchecked.append(f"answers were not compared with their annotations: {error}")
        return None


def _check_answers(
    folder: AskFolder, name: str, record: AskRecord, footers: dict[str, Footer] | None
) -> AnswerReport:
    """Return what a sound file reports. Raises Unsound."""
    try:
        report, table = read_answers(join(folder.url, name), record.attributes)
    except AnnotationError as error:
        raise Unsound(str(error)) from error
    except OSError as error:
        raise OutputError(f"{name}: can't be read: {reason(error)}") from error
    _check_table(name, report, table)
    asked = Extras(attributes=record.attributes).digest()
    if (report.asked, report.fingerprint) != (asked, record.fingerprint):
        raise Unsound("answers other questions, or those of another run")
    if footers is None:
        return report
    footer = footers.get(name)
    if footer is None:
        raise Unsound("belongs to no annotation")
    told = footer.report.rows, footer.embeddings and footer.embeddings.sha256
    if (report.rows, report.embeddings) != told:
        raise Unsound("answers embeddings that were made anew since")
    return report


def _check_table(name: str, report: AnswerReport, table: Any) -> None:
    shards = set(table["shard"].cast(pa.string()).unique().to_pylist())
    if annotation_name(report.shard) != name or shards - {report.shard}:
        raise Unsound(f"has the answers of {report.shard}")
    if not np.array_equal(table["index"].to_numpy(), np.arange(report.rows)):
        raise Unsound("has other indices than its rows are counted by")
    answered = {len(column) - column.null_count for column in table.columns[2:]}
    if answered != {report.answered} or spreads_of(table) != report.attributes:
        raise Unsound("its footer tells of other answers than its rows have")


def _check_others(
    folder: AskFolder, sound: list[AnswerReport], *, all_sound: bool
) -> Iterator[Problem]:
    yield from leftovers(folder)
    known = folder.committed | folder.failed | {RECORD, SUMMARY}
    yield from strangers(folder.files - known, "is none of ask's files")
    if SUMMARY not in folder.files:
        yield unfinished("ask")
        return
    try:
        summary = AskSummary.decode(read_bytes(join(folder.url, SUMMARY)))
        if all_sound and summary != summarise(sound):
            raise DocumentError("disagrees with the answers")
    except DocumentError as error:
        yield _wrong(SUMMARY, str(error))


def _wrong(name: str, trouble: str) -> Problem:
    return Problem(place=name, trouble=trouble, remedy=_AGAIN, deletes=(name,), rescores=True)
