"""An output: a folder that mirrors the shards, with a sealed table for each of them.

….parquet                  a shard's rows
_embeddings/TOWER/….npy    embeddings of the rows, if they are asked for
_run.json                  what the files hold, and their inputs
_failed/….json             a shard that was given up
_manifest.arrow            a row a shard
_summary.json              written last
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, tee
from typing import Final, Protocol

from shardsift.documents import DocumentError
from shardsift.errors import AnnotationError, InputError, OutputError
from shardsift.measures import MACLIP, Contents
from shardsift.outputs.embeddings import embeddings_name
from shardsift.outputs.json_records import (
    COMPACTING,
    CompactRecord,
    RunRecord,
    RunSummary,
    StageTimes,
)
from shardsift.outputs.manifest import SUFFIX, ManifestWriter, read_manifest, read_outcomes
from shardsift.outputs.run_folder import SUMMARY, RunFolder, failed_name
from shardsift.outputs.sealed_table import AnnotationFiles, Footer, find_compacted, read_footer
from shardsift.outputs.sketch import QuantileMerger
from shardsift.reading import TARS, Reading
from shardsift.records import ShardReport, ShardTask, told_of
from shardsift.redaction import reason
from shardsift.shards.names import annotation_name
from shardsift.shards.plan import ShardPlan, plan_moved
from shardsift.storage.files import (
    ANNOTATION_SUFFIX,
    FAILED_FOLDER,
    absolute,
    is_annotation,
    join,
    list_files,
    read_bytes,
    sum_of,
)
from shardsift.storage.finding import lone_folder
from shardsift.threads import Track, no_track
from shardsift.version import __version__

RUN_RECORD = "_run.json"
MANIFEST = "_manifest" + SUFFIX

logger: Final = logging.getLogger(__name__)


class Plan(Protocol):
    """The shards of a run; iterating may list them again."""

    @property
    def count(self) -> int:
        """The number of shards."""
        ...

    @property
    def root(self) -> str:
        """The folder that their names are relative to."""
        ...

    @property
    def inputs(self) -> tuple[str, ...]:
        """The paths and patterns that were named."""
        ...

    @property
    def reading(self) -> Reading:
        """The kind of shards, and what makes samples of them."""
        ...

    def __iter__(self) -> Iterator[ShardTask]: ...


class OutputFolder(RunFolder):
    """An output as one listing found it: of `score`, of `ask`, or compacted."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.record: RunRecord | None = None
        if RUN_RECORD in self.files:
            what, remedy = "a run", "take another folder"
            self.record = self.read_document(RUN_RECORD, RunRecord, what, remedy)
        self.is_compacted: bool = COMPACTING in self.files
        self.annotations: AnnotationFiles = self._open_annotations()
        self.committed: set[str] = {name for name in self.files if is_annotation(name)}
        if self.is_compacted:
            self.committed = set(self.annotations.places)
        self._to_delete: list[str] = []

    @property
    def contents(self) -> Contents:
        """Contents of its files; without a record, only the columns of every annotation."""
        return self.record.contents if self.record else Contents(measures={})

    @property
    def reading(self) -> Reading:
        """The kind of its shards, and what made samples of them."""
        return self.record.reading if self.record else TARS

    def shard_of(self, name: str) -> str:
        """Name the shard of an annotation; `name` may lack its suffix."""
        return f"{name.removesuffix(ANNOTATION_SUFFIX)}.{self.reading.kind}"

    def claim(self, contents: Contents, *, overwrite: bool) -> None:
        """Check that a run may write files with these contents here.

        Changes nothing on disk: what `overwrite` replaces is deleted by `begin`.

        Raises:
            OutputError: if the folder holds other contents, or Parquet files that are not ours.
        """
        if self.is_compacted:
            raise OutputError(
                f"{self.url}: holds compacted annotations, which can't be extended; choose "
                "another --output"
            )
        if overwrite:
            self.check_own("run", self.committed, self._is_own)
            towers = self.contents.embeddings
            beside = {embeddings_name(name, tower) for name in self.committed for tower in towers}
            known = {MANIFEST, *beside} & self.files
            self._to_delete = sorted({*known, *self.committed, *self.own_failures()})
            self.begin_anew()
            self.committed, self.record = set[str](), None
        elif self.record is None:
            self.check_own("run", self.committed, lambda _: False)
        elif different := self.record.contents.difference(contents):
            raise OutputError(
                f"{self.url}: holds annotations made {different}; choose another --output, or "
                "--overwrite to replace them"
            )

    def placed(self, plan: ShardPlan, *, may_have_moved: bool = False) -> ShardPlan:
        """Return a plan with the names that the folder's shards have.

        If shards `may_have_moved`, a single folder is treated as the corpus's new location.

        Raises:
            OutputError: if the shards lie elsewhere.
        """
        if self.record is None:
            return plan
        plan.check_reading(self.record.reading, self.url)
        elsewhere = may_have_moved and not plan.lies_below(self.record.root)
        if elsewhere and (folder := lone_folder(plan.patterns)):
            return self.plan_moved_to(folder)
        return plan.below(self.record.root)

    def plan_moved_to(self, folder: str) -> ShardPlan:
        """Plan the shards of this run, which have moved to another folder.

        Raises:
            InputError: if none of them does.
        """
        assert self.record, "there is a run"
        plan = plan_moved(self.record.inputs, self.record.root, folder, self.record.reading)
        known = self.committed | self.failed
        if not any(task.annotation in known or failed_name(task.shard) in known for task in plan):
            raise InputError(
                f"{folder}: has none of the shards that were scored below {self.record.root}; name "
                "the folder that their names are relative to"
            )
        return plan

    def has_moved(self, plan: Plan) -> bool:
        """Return whether the corpus of a claimed plan has moved since some of it was scored."""
        record = self.record
        return record is not None and (record.has_moved or record.root != plan.root)

    def begin(
        self,
        plan: Plan,
        contents: Contents,
        *,
        weights: str | None = None,
        annotations: str | None = None,
    ) -> None:
        """Delete what is to be replaced, and write `_run.json`, before the first file."""
        self.sweep()
        self.delete_all([SUMMARY])
        self.delete_all(self._to_delete)
        self._forget_reopened()
        record = RunRecord(
            fingerprint=contents.fingerprint,
            config=dict(contents.config),
            measures=dict(contents.measures),
            embeddings=tuple(contents.embeddings),
            sources=tuple(contents.sources),
            annotations=annotations,
            root=plan.root,
            inputs=plan.inputs,
            reading=plan.reading,
            version=__version__,
            weights=weights,
            has_moved=self.has_moved(plan),
        )
        self.commit(RUN_RECORD, record.encode())

    def _forget_reopened(self) -> None:
        """Remove the shards that are scored again from the manifest.

        If this run is stopped, the next one reads the footers of its files.
        """
        if MANIFEST not in self.files or MANIFEST in self._to_delete:
            return
        url = join(self.url, MANIFEST)
        forgotten = False
        with ManifestWriter() as manifest:
            for shard, report in read_outcomes(url):
                if report is None:
                    manifest.add_failed(shard)
                elif annotation_name(shard) in self.committed:
                    manifest.add(report)
                else:
                    forgotten = True
            if forgotten:
                manifest.commit(url, self.guard)

    def read_footers(self, names: Iterable[str]) -> Iterator[Footer]:
        """Read footers of annotations, in the order of sorted names. Raises AnnotationError."""
        return self.annotations.footers(names)

    def reports(self, names: Iterable[str]) -> Iterator[ShardReport]:
        """Yield what annotations report: the manifest's reports, else those of the footers.

        Raises:
            AnnotationError: if the manifest or an annotation is damaged.
        """
        unknown = dict.fromkeys(names)
        with closing(read_manifest(join(self.url, MANIFEST))) as known:
            for report in known:
                if (name := annotation_name(report.shard)) in unknown:
                    del unknown[name]
                    yield report
        for footer in self.read_footers(unknown):
            yield footer.report

    def footers(self, tasks: Iterable[ShardTask]) -> Iterable[tuple[ShardTask, Footer]]:
        """Read footers of committed shards, by many threads, in order. Raises AnnotationError."""
        tasks, again = tee(tasks)
        return zip(tasks, self.read_footers(task.annotation for task in again), strict=True)

    def reopen(self, plan: Plan, wanted: Callable[[ShardTask, Footer], bool]) -> None:
        """Count the committed shards that `wanted` picks as not committed."""
        tasks = (task for task in plan if task.annotation in self.committed)
        picked = {task.annotation for task, footer in self.footers(tasks) if wanted(task, footer)}
        self.committed -= picked

    def check_manifest(self) -> None:
        """Check that the manifest matches the summary.

        Raises:
            InputError: if there is no such summary.
            AnnotationError: if there is another manifest.
        """
        summary, location = self.read_summary(), join(self.url, MANIFEST)
        if summary and MANIFEST in self.files and sum_of(location) != summary.manifest:
            raise AnnotationError(f"{location}: doesn't match {SUMMARY}; see `shardsift verify`")

    def read_summary(self) -> RunSummary | None:
        """Read the summary of the last run; None if the run hasn't finished.

        Raises:
            InputError: if it isn't a summary of ours.
        """
        location = join(self.url, SUMMARY)
        try:
            return RunSummary.decode(read_bytes(location)) if self.is_finished else None
        except (OSError, DocumentError) as error:
            raise InputError(
                f"{location}: not the summary of a run ({reason(error)}); see `shardsift verify`"
            ) from error

    def _open_annotations(self) -> AnnotationFiles:
        measures = self.record and self.record.contents.digests
        if not self.is_compacted:
            return AnnotationFiles(self.url, measures)
        again = "compact again, with --overwrite"
        sums = self.read_document(COMPACTING, CompactRecord, "a compact", again).sums
        if not sums or sums.keys() - self.files:
            raise OutputError(f"{self.url}: is not whole; {again}")
        places = find_compacted(self.url, filter(is_annotation, sums))
        digests = {place.footer.report.digest for place in places.values()}
        known = {report.digest for report in read_manifest(join(self.url, MANIFEST))}
        if MANIFEST in sums and digests != known:
            raise AnnotationError(f"{self.url}: holds files of another `compact`; compact again")
        return AnnotationFiles(self.url, measures, places)

    def _is_own(self, name: str) -> bool:
        """Return whether a file is ours, and named after its shard."""
        try:
            return annotation_name(read_footer(join(self.url, name)).shard.path) == name
        except AnnotationError:
            return False


def find_annotations(url: str) -> OutputFolder:
    """Open a folder that has annotations. Raises InputError if it has none."""
    folder = OutputFolder(url)
    if folder.is_held:
        logger.warning(
            "%s: a command writes here now, or was killed; the files may still change",
            url,
        )
    if not folder.committed and folder.is_held:
        raise InputError(f"{url}: no annotations yet; a command writes here now, or was killed")
    if not folder.committed:
        raise InputError(f"{url}: no annotations here; name the --output of `shardsift score`")
    return folder


def find_scores(url: str) -> OutputFolder:
    """Open a folder whose rows have a score. Raises InputError if it is none."""
    folder = find_annotations(url)
    if folder.record and MACLIP not in folder.record.measures:
        raise InputError(
            f"{url}: has answers and no scores; name the output of `shardsift score`, and add "
            f"--with {url}"
        )
    return folder


# --- the end of a run ----------------------------------------------------------------------------


def complete(
    folder: OutputFolder,
    plan: Plan,
    manifest: ManifestWriter,
    *,
    contents: Contents,
    actors: int,
    seconds: float,
) -> RunSummary:
    """Add the shards of earlier runs to a manifest that holds this run's, and sum all of them up.

    Seconds, speed and stages in `_summary.json` are this run's alone; without Ray `actors` is 0.

    Raises:
        AnnotationError: if the last manifest or an annotation is damaged.
        OutputError: if a written file has disappeared.
    """
    there = list_files(folder.url)
    lost = "" if RUN_RECORD in there else RUN_RECORD
    count = 0
    for task in plan:
        if task.annotation not in there and failed_name(task.shard) not in there:
            lost, count = lost or task.annotation, count + 1
    if lost:
        raise OutputError(
            f"{folder.url}: {lost} has disappeared, and {count:,} of {plan.count:,} annotations "
            "are missing; was the folder renamed or deleted? undo that and run the same command "
            "again, or pass --overwrite"
        )
    folder.delete_all(_stray_embeddings(plan, contents.embeddings, there))
    totals = manifest.totals
    pace = {
        "seconds": round(seconds, 3),
        "images_per_second": round(totals.rows / max(seconds, 1e-9), 3),
        "stage_seconds": {
            name: StageTimes(busy=round(stage.busy, 3), waiting=round(stage.waiting, 3))
            for name, stage in totals.stages.items()
        },
        "actors": actors,
        "fingerprint": contents.fingerprint,
    }
    if folder.committed:  # walking the plan may list a bucket: only if needed
        earlier = (t.annotation for t in plan if t.annotation in folder.committed)
        for report in folder.reports(earlier):
            manifest.add(report)
    pace["manifest"] = manifest.commit(join(folder.url, MANIFEST), folder.guard)
    for line in told_of(totals.passed_over, totals.further):
        logger.warning("%s", line)
    summary = RunSummary.model_validate(totals.as_dict() | pace)
    folder.write_summary(summary)
    return summary


def _stray_embeddings(plan: Plan, towers: Sequence[str], there: set[str]) -> Iterator[str]:
    """Name embeddings without an annotation: their writer was killed between the two.

    Readers that pair files by their order would give them to the next annotation.
    """
    if not towers:
        return
    for task in plan:
        if task.annotation not in there:
            yield from {embeddings_name(task.annotation, tower) for tower in towers} & there


# --- looking at all files ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AnnotatedShard:
    """The file of a shard, what its footer counts, and its digests, see `Footer`.

    `embeddings` are the SHA-256 of its embeddings, by tower.
    """

    name: str
    shard: str
    rows: int
    errors: Mapping[str, int]
    passed_over: Mapping[str, int]
    digest: str
    rows_digest: str
    embeddings: Mapping[str, str]

    @property
    def scored(self) -> int:
        """Rows that have a quality."""
        return self.rows - sum(self.errors.values())


def annotated_shard(name: str, footer: Footer) -> AnnotatedShard:
    """Describe the file of this name, whose footer was read."""
    report = footer.report
    return AnnotatedShard(
        name,
        footer.shard.path,
        *(report.rows, report.errors, report.passed_over, report.digest, footer.rows_digest),
        {tower: own.sha256 for tower, own in footer.embeddings.items()},
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskList:
    """A plan of known shards; tasks of answers name annotations."""

    tasks: Sequence[ShardTask]
    root: str
    inputs: tuple[str, ...]
    reading: Reading = TARS

    @property
    def count(self) -> int:
        """The number of shards."""
        return len(self.tasks)

    def __iter__(self) -> Iterator[ShardTask]:
        return iter(self.tasks)


def is_answer_of(footer: Footer, annotated: AnnotatedShard) -> bool:
    """Return whether a file's rows are those of an annotated shard.

    If it answers embeddings that the shard has, they have to be these, too.
    """
    alike = footer.rows_digest == annotated.rows_digest
    return alike and all(
        annotated.embeddings.get(tower, sha256) == sha256
        for tower, sha256 in footer.sources.items()
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class AnnotationSet:
    """All annotations of a folder; `failed` and `missing` are names of shards without any."""

    folder: OutputFolder
    contents: Contents
    shards: Sequence[AnnotatedShard]
    quality: QuantileMerger
    failed: Sequence[str]
    missing: Sequence[str]
    is_finished: bool

    @property
    def url(self) -> str:
        """Their folder or URL."""
        return self.folder.url

    @property
    def fingerprint(self) -> str:
        """The digest of the measure `maclip`."""
        return self.contents.fingerprint

    @property
    def root(self) -> str:
        """The folder of the shards, to which their names are relative, at the time of scoring.

        Empty if it wasn't recorded.
        """
        return self.folder.record.root if self.folder.record else ""

    @property
    def tasks(self) -> TaskList:
        """A task for each file, whose URL is the file's."""
        tasks = [
            ShardTask(url=join(self.url, each.name), shard=each.shard, annotation=each.name)
            for each in self.shards
        ]
        inputs = (absolute(self.url),)
        return TaskList(tasks=tasks, root=self.root, inputs=inputs, reading=self.folder.reading)

    @property
    def rows(self) -> int:
        """The number of rows of all files."""
        return sum(annotated.rows for annotated in self.shards)

    @property
    def scored(self) -> int:
        """Rows that have a quality."""
        return sum(annotated.scored for annotated in self.shards)

    @property
    def passed_over(self) -> Counter[str]:
        """Counts by `PassedOver`."""
        return sum((Counter(annotated.passed_over) for annotated in self.shards), Counter[str]())


def read_annotation_set(
    folder: OutputFolder, *, allow_missing: bool = False, track: Track = no_track
) -> AnnotationSet:
    """Read the footers of all annotation files of a folder.

    Raises:
        InputError: if some are missing, or they were made with two configurations.
        AnnotationError: if a file isn't one of ours.
    """
    names = sorted(folder.committed)
    failed, missing = without_annotation(folder)
    if not allow_missing:
        _check_complete(folder, missing)
    shards: list[AnnotatedShard] = []
    quality = QuantileMerger()
    footers = iter(track(folder.read_footers(names), "reading footers", len(names)))
    first = next(footers)
    for name, footer in zip(names, chain([first], footers), strict=True):
        _check_alike(folder.url, names[0], first, name, footer)
        shards.append(annotated_shard(name, footer))
        quality.add(footer.report.sketch)
    return AnnotationSet(
        folder=folder,
        contents=first.contents,
        shards=shards,
        quality=quality,
        failed=failed,
        missing=missing,
        is_finished=folder.is_finished,
    )


def without_annotation(folder: OutputFolder) -> tuple[list[str], list[str]]:
    """List the shards that were given up, and those that only the manifest knows."""
    if MANIFEST not in folder.files:
        prefix, suffix = f"{FAILED_FOLDER}/", ".json"
        names = sorted(name.removeprefix(prefix).removesuffix(suffix) for name in folder.failed)
        shards = [folder.shard_of(name) for name in names]
        return [s for s in shards if annotation_name(s) not in folder.committed], []
    failed: list[str] = []
    missing: list[str] = []
    for shard, report in read_outcomes(join(folder.url, MANIFEST)):
        if annotation_name(shard) not in folder.committed:
            is_failed = report is None or failed_name(shard) in folder.failed
            (failed if is_failed else missing).append(shard)
    return failed, missing


def _check_complete(folder: OutputFolder, missing: Sequence[str]) -> None:
    url = folder.url
    if missing:
        name = annotation_name(missing[0])
        raise InputError(
            f"{url}: {len(missing):,} annotation files are missing, such as {name}; run "
            "`shardsift score` again, or pass --allow-missing"
        )
    if not folder.is_finished:
        raise InputError(
            f"{url}: the run hasn't finished ({len(folder.committed):,} shards so far); run "
            "`shardsift score` again, or pass --allow-missing"
        )


def _check_alike(url: str, first: str, one: Footer, other: str, two: Footer) -> None:
    if one.report.measures.get(MACLIP) != two.report.measures.get(MACLIP):
        raise InputError(
            f"{url}: made with two configurations, whose scores can't be compared: {first} "
            f"has fingerprint {one.contents.fingerprint}, {other} has {two.contents.fingerprint}; "
            "score the shards of one of them again"
        )
    if different := one.contents.difference(two.contents):
        raise InputError(
            f"{url}: {first} and {other} were made {different}; score the shards of one of them "
            "again"
        )
