"""The output folder of `ask`.

….parquet       the answers of a shard, named as its annotation
_ask.json       what was asked, and of which annotations; written first
_failed/….json  a shard that was given up
_summary.json   written last
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add

from shardsift.asking.answers import AnswerReport, AskTask, read_report
from shardsift.asking.documents import AskRecord, AskSummary
from shardsift.errors import AnnotationError, OutputError
from shardsift.outputs.folder import OR_OVERWRITE, SUMMARY, RunFolder
from shardsift.records import Spread
from shardsift.shards.names import annotation_name
from shardsift.storage.files import is_annotation, join, list_files
from shardsift.threads import map_ordered

RECORD = "_ask.json"

_THREADS = 32


class AskFolder(RunFolder):
    """The folder as one listing found it."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.committed = {name for name in self.files if is_annotation(name)}
        self._to_delete: set[str] = set()

    def claim(self, record: AskRecord, *, overwrite: bool) -> None:
        """Check that a run may write here.

        Changes nothing on disk: what `overwrite` replaces is deleted by `begin`.

        Raises:
            OutputError: if the folder holds answers to something else, or files of others.
        """
        if RECORD not in self.files:
            if strangers := self.committed | ({SUMMARY} & self.files):
                raise OutputError(
                    f"{self.url}: holds {min(strangers)}, which no ask here has recorded; choose "
                    "another --output"
                )
            return
        if overwrite:
            names = sorted(self.committed - self.behind_links(self.committed))
            owned = map_ordered(self.is_own, names, _THREADS)
            ours = {name for name, is_own in zip(names, owned, strict=True) if is_own}
            if strangers := self.committed - ours:
                raise OutputError(
                    f"{self.url}: holds {min(strangers)}, which is none of ask's answers, or lies "
                    "behind a link; move it away, or choose another --output"
                )
            self._to_delete = ours | self.own_failures()
            self.committed, self.failed, self.is_finished = set(), set(), False
        elif changes := _changes(self.read_record(), record):
            raise OutputError(
                f"{self.url}: holds answers to something else ({changes}); choose another "
                "--output, or --overwrite to replace them"
            )

    def begin(self, record: AskRecord) -> None:
        """Delete what is to be replaced, and write `_ask.json`, before the first answer."""
        self.sweep()
        self.delete_all([SUMMARY])
        self.delete_all(self._to_delete)
        self.commit(RECORD, record.encode())

    def read_record(self) -> AskRecord:
        """Read what the folder's answers are to. Raises OutputError."""
        return self.read_document(RECORD, AskRecord, "an ask", OR_OVERWRITE)

    def is_own(self, name: str) -> bool:
        """Return whether a file holds answers, and is named after their shard."""
        try:
            return annotation_name(read_report(join(self.url, name)).shard) == name
        except AnnotationError:
            return False

    def find_committed(self, task: AskTask) -> AnswerReport | None:
        """Return the report of a shard that is answered, though nobody heard of it."""
        try:
            return read_report(join(self.url, task.annotation))
        except AnnotationError:
            return None

    def finish(self, tasks: Sequence[AskTask], reports: Iterable[AnswerReport]) -> AskSummary:
        """Write the summary of all shards, and return it; `reports` are those of this run.

        Raises:
            OutputError: if answers aren't there any more.
            AnnotationError: if those of an earlier run are damaged.
        """
        there = list_files(self.url)
        if lost := {RECORD, *(task.annotation for task in tasks)} - there:
            raise OutputError(
                f"{self.url}: {min(lost)} is not there any more; was the folder renamed or "
                "deleted? run the same command again"
            )
        own = {report.shard: report for report in reports}
        earlier = (join(self.url, task.annotation) for task in tasks if task.shard not in own)
        summary = summarise([*own.values(), *map_ordered(read_report, earlier, _THREADS)])
        self.write_summary(summary)
        return summary


def summarise(reports: Iterable[AnswerReport]) -> AskSummary:
    """Sum up shards, in whatever order they come."""
    reports = sorted(reports, key=lambda report: report.shard)
    answered = sum(report.answered for report in reports)
    spreads: dict[str, list[Spread]] = {}
    for report in reports:
        for name, spread in report.attributes.items():
            spreads.setdefault(name, []).append(spread)
    return AskSummary(
        shards=len(reports),
        rows=sum(report.rows for report in reports),
        answered=answered,
        means={name: reduce(add, parts).mean(answered) for name, parts in spreads.items()},
    )


def _changes(there: AskRecord, here: AskRecord) -> str:
    if there.fingerprint != here.fingerprint or there.manifest != here.manifest:
        return "the annotations are others, or were scored again"
    names = sorted(
        name
        for name in {*there.attributes, *here.attributes}
        if there.attributes.get(name) != here.attributes.get(name)
    )
    return f"attributes: {', '.join(names)}" if names else ""
