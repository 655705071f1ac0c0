"""Proof that an output is complete and consistent, and what to delete if it isn't.

Every planned shard has one sound file, or one record of its failure; nothing else is there.
A file is deleted only if this folder has a `_run.json`, and the file is Shardsift's by its
footer, by its name that begins with `_`, or, too damaged to tell, by the name of a planned shard.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import zip_longest
from typing import Any

from shardsift.documents import DocumentError
from shardsift.errors import AnnotationError, InputError, OutputError, ShardError, UserError
from shardsift.outputs.annotation_encoder import MOST_TAR_SIZE
from shardsift.outputs.embeddings import EMBEDDINGS_FOLDER, embeddings_name
from shardsift.outputs.json_records import COMPACTING, CompactRecord, RunRecord
from shardsift.outputs.manifest import Totals, read_outcomes
from shardsift.outputs.output_folder import (
    MANIFEST,
    AnnotatedShard,
    OutputFolder,
    Plan,
    TaskList,
    find_annotations,
    is_answer_of,
    read_annotation_set,
)
from shardsift.outputs.run_folder import SUMMARY, RunFolder, failed_name
from shardsift.outputs.sealed_table import Footer
from shardsift.records import (
    FailedShard,
    Sample,
    ShardIdentity,
    ShardReport,
    ShardTask,
    has_changed,
)
from shardsift.redaction import reason
from shardsift.shards.names import annotation_name
from shardsift.shards.plan import ShardPlan, plan_shards
from shardsift.shards.readers import identify_shard, read_samples
from shardsift.storage.files import (
    followed,
    join,
    read_bytes,
    sum_of,
)
from shardsift.storage.finding import lone_folder
from shardsift.threads import Track, no_track
from shardsift.verification.findings import (
    Findings,
    Problem,
    Unsound,
    leftovers,
    strangers,
    unfinished,
    walk,
)
from shardsift.verification.single_files import (
    check_annotation,
    check_embeddings,
    check_failure,
    check_summary,
)

_THREADS = 32
_THREADS_THAT_RECOUNT = 4  # each thread holds a sample in memory
_MISSING = "has neither an annotation nor a record of its failure"


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """An output folder, and the shards that it should hold files of.

    Attributes:
        annotated: files with the embeddings that were asked, by name; None if pictures were read,
            or if these files can't be read, in which case `unchecked` says why.
    """

    folder: OutputFolder
    record: RunRecord
    plan: Plan
    annotated: Mapping[str, AnnotatedShard] | None = None
    unchecked: Sequence[str] = ()

    @property
    def verb(self) -> str:
        """The command that makes such files."""
        return "ask" if self.record.sources else "score"

    def embeddings_of(self, task: ShardTask) -> set[str]:
        """Return the names of the embeddings of a file."""
        towers = self.record.embeddings
        return {embeddings_name(task.annotation, tower) for tower in towers} & self.folder.files


@dataclass(kw_only=True, slots=True)
class _Shard:
    """One planned shard: `report` is None if it was given up."""

    task: ShardTask
    report: ShardReport | None = None
    recounted: bool = False
    problems: list[Problem] = field(default_factory=list[Problem])


def claim_output(output: str, shards: Sequence[str] = ()) -> Claim:
    """Find the shards that an output should hold: `shards`, else the recorded inputs.

    Raises:
        OutputError: if the folder is not an output of Shardsift.
        InputError: if the shards can't be found.
    """
    folder = OutputFolder(output)
    if folder.record is None:
        raise OutputError(f"{output}: no _run.json here; name the --output of a run")
    if folder.is_compacted:
        raise OutputError(f"{output}: holds compacted annotations")
    if folder.record.annotations is not None:
        return _claim_answers(folder, folder.record, folder.record.annotations)
    return Claim(folder=folder, record=folder.record, plan=_plan(folder, folder.record, shards))


def _claim_answers(folder: OutputFolder, record: RunRecord, annotations: str) -> Claim:
    """Find the annotations that answers belong to; if they are gone, answers aren't compared."""
    try:
        source = find_annotations(followed(annotations, "ask again"))
        found = read_annotation_set(source, allow_missing=True)
    except (UserError, AnnotationError) as error:
        shards = {name: folder.shard_of(name) for name in folder.committed}
        tasks = [ShardTask(url=n, shard=s, annotation=n) for n, s in sorted(shards.items())]
        plan = TaskList(tasks=tasks, root=record.root, inputs=record.inputs, reading=record.reading)
        unchecked = f"answers were not compared with their annotations: {error}"
        return Claim(folder=folder, record=record, plan=plan, unchecked=[unchecked])
    annotated = {shard.name: shard for shard in found.shards}
    return Claim(folder=folder, record=record, plan=found.tasks, annotated=annotated)


def _plan(output: OutputFolder, record: RunRecord, shards: Sequence[str]) -> ShardPlan:
    """Plan the given shards, else those of the run; a single folder is the new location."""
    try:
        plan = plan_shards(shards or record.patterns(), record.reading)
    except InputError as error:
        if shards:
            raise
        raise InputError(f"{error}; if they have moved, name their folder: --shards DIR") from error
    if plan.lies_below(record.root):
        return plan.below(record.root)
    if folder := lone_folder(shards):
        return output.plan_moved_to(folder)
    raise InputError(
        f"the run's shards were below {record.root}, but these are in {plan.root}; if they have "
        "moved, name only their folder: --shards DIR"
    )


def verify(claim: Claim, *, recount: bool = False, track: Track = no_track) -> Findings:
    """Check everything; `recount` reads the tars, too. `track` shows the shards that are done.

    Raises:
        OutputError: if a file can't be fetched, which says nothing about the file.
    """
    found = Findings(unchecked=[*claim.unchecked])
    threads = _THREADS_THAT_RECOUNT if recount else _THREADS
    shards = walk(
        found,
        claim.plan,
        partial(_check_shard, claim, recount),
        partial(_wrong, claim),
        track,
        "checking shards",
        claim.plan.count,
        threads,
    )
    outcomes: dict[str, ShardReport | None] = {}
    recounted = 0
    for shard in shards:
        found.problems += shard.problems
        outcomes[shard.task.shard] = shard.report
        recounted += shard.recounted
    reports = [report for report in outcomes.values() if report]
    found.given_up = len(outcomes) - len(reports)
    found.counts = {
        "shards planned": claim.plan.count,
        "with a sound annotation": len(reports),
        "failed, see _failed": found.given_up,
        "rows checked": sum(report.rows for report in reports),
        "shards read again": recounted,
    }
    found.problems += _unplanned(claim)
    found.problems += leftovers(claim.folder)
    found.problems += _check_results(claim, outcomes)
    return found


def _check_shard(claim: Claim, recount: bool, task: ShardTask) -> _Shard:
    """Return the report of a shard. Raises Unsound if its file is damaged or missing."""
    shard = _Shard(task=task)
    record = failed_name(task.shard)
    is_recorded = record in claim.folder.failed
    if task.annotation in claim.folder.committed:
        footer, rows = check_annotation(claim.folder.url, task, claim.record)
        check_embeddings(claim.folder.url, task, footer, rows)
        if claim.annotated and not is_answer_of(footer, claim.annotated[task.annotation]):
            raise Unsound("its annotations or embeddings were written again since it was answered")
        shard.report = footer.report
        if is_recorded:
            trouble = f"is annotated, but {record} says that it failed"
            shard.problems.append(_stray(task.shard, trouble, record))
        if recount and not claim.record.sources:
            try:
                _recount(shard, footer, rows, has_moved=claim.folder.has_moved(claim.plan))
            except Unsound as fault:  # added to earlier findings
                shard.problems.append(_wrong(claim, task, fault))
    elif is_recorded:
        check_failure(join(claim.folder.url, record), task.shard)
        for name in sorted(claim.embeddings_of(task)):
            shard.problems.append(_stray(name, "has no annotation", name))
    else:
        raise Unsound(_MISSING)
    return shard


def _recount(shard: _Shard, footer: Footer, rows: Any, *, has_moved: bool) -> None:
    """Compare a tar with its annotation. Raises Unsound if it holds other samples."""
    task = shard.task
    try:
        now = identify_shard(task)
        if has_changed(now, footer.shard, has_moved=has_moved):
            shard.problems.append(_changed(task, footer, now))
        compare_samples(read_samples(task), rows)
    except (OSError, ShardError) as error:
        trouble = error.problem if isinstance(error, ShardError) else reason(error)
        remedy = "repair the tar; its annotation is kept"
        shard.problems.append(Problem(place=task.shard, trouble=trouble, remedy=remedy))
        return
    shard.recounted = True


def _check_results(claim: Claim, outcomes: dict[str, ShardReport | None]) -> Generator[Problem]:
    """Compare manifest and files if these are sound, and the summary with the manifest."""
    files, url = claim.folder.files, claim.folder.url
    if SUMMARY not in files:
        yield unfinished(claim.verb)
        return
    totals = Totals()
    manifest = ""
    try:
        if MANIFEST not in files:
            raise AnnotationError("is missing, but the summary exists")
        manifest = sum_of(join(url, MANIFEST))
        wrong = _wrong_rows(claim, dict(outcomes), totals)
        if wrong:
            raise AnnotationError(f"disagrees with {len(wrong):,} shards, such as {wrong[0]}")
    except AnnotationError as error:
        trouble = str(error).removeprefix(f"{join(url, MANIFEST)}: ")
        yield _rewritten(claim, MANIFEST, trouble)
        return
    try:
        check_summary(join(url, SUMMARY), totals, claim.record, manifest)
    except Unsound as fault:
        yield _rewritten(claim, SUMMARY, str(fault))


def _wrong_rows(claim: Claim, outcomes: dict[str, ShardReport | None], totals: Totals) -> list[str]:
    """List the shards of which manifest and files say different things, and fill `totals`."""
    wrong: list[str] = []
    planned = {task.shard for task in claim.plan}
    for shard, report in read_outcomes(join(claim.folder.url, MANIFEST)):
        totals.add(report or FailedShard(shard=shard, url="", reason="", attempts=0))
        if shard in outcomes:
            if not _agree(outcomes.pop(shard), report):
                wrong.append(shard)
        elif shard not in planned and not _is_there(claim, shard):
            wrong.append(shard)
    return wrong + list(outcomes)


def _is_there(claim: Claim, shard: str) -> bool:
    """Return whether a shard that was not asked for has left something."""
    names = {annotation_name(shard), failed_name(shard)}
    return bool(names & claim.folder.files)


def _agree(found: ShardReport | None, told: ShardReport | None) -> bool:
    if found is None or told is None:
        return found is told
    return replace(found, seconds=told.seconds, stages=told.stages) == told


def _wrong(claim: Claim, task: ShardTask, fault: Unsound) -> Problem:
    trouble, verb = str(fault), claim.verb
    if trouble == _MISSING:
        remedy = f"run the same {verb} command again"
        return Problem(place=task.shard, trouble=trouble, remedy=remedy, rescores=True)
    if not fault.is_ours:
        remedy = f"move {task.annotation} elsewhere, then {verb} again"
        return Problem(place=task.shard, trouble=trouble, remedy=remedy)
    return Problem(
        place=task.shard,
        trouble=trouble,
        remedy=f"--repair, then {verb} again",
        deletes=(task.annotation, failed_name(task.shard), *claim.embeddings_of(task)),
        rescores=True,
    )


def _stray(place: str, trouble: str, name: str) -> Problem:
    return Problem(place=place, trouble=trouble, remedy="--repair", deletes=(name,))


def _changed(task: ShardTask, footer: Footer, now: ShardIdentity) -> Problem:
    then = footer.shard
    return Problem(
        place=task.shard,
        trouble=f"has changed since it was scored: {then.size:,} bytes and version {then.version} "
        f"then, {now.size:,} and {now.version} now",
        remedy="score again with --rescore changed",
    )


def _unplanned(claim: Claim) -> Iterator[Problem]:
    """Report files of shards that are not planned."""
    folder = claim.folder
    names = folder.committed | folder.failed
    names |= {name for name in folder.files if name.startswith(f"{EMBEDDINGS_FOLDER}/")}
    for task in claim.plan:
        names -= {task.annotation, failed_name(task.shard), *claim.embeddings_of(task)}
    remedy = "name all shards with --shards, or delete it yourself"
    for name in sorted(names):
        yield Problem(place=name, trouble="belongs to no shard of this run", remedy=remedy)


def _rewritten(claim: Claim, place: str, trouble: str) -> Problem:
    # If only the checksum differs, either file may be at fault.
    remedy = f"--repair, then {claim.verb} again to write it"
    return Problem(place=place, trouble=trouble, remedy=remedy, deletes=(MANIFEST, SUMMARY))


# --- tars and their rows -------------------------------------------------------------------------


def compare_samples(samples: Iterable[Sample], rows: Any) -> None:
    """Raise Unsound unless the rows, a `pyarrow.Table`, are of these samples of a tar."""
    count = 0
    different = ""
    names = ["key", "uid", "image_ext", "tar_offset", "tar_size", "sha256"]
    for sample, row in zip_longest(samples, rows.select(names).to_pylist()):
        count += sample is not None
        if not sample or not row or different:
            continue
        image = sample.image
        size = image.size if image and image.size <= MOST_TAR_SIZE else None
        found = {
            "key": sample.key,
            "uid": sample.uid,
            "image_ext": image and image.extension,
            "tar_offset": image and image.offset,
            "tar_size": size,
        }
        if column := next((name for name in found if row[name] != found[name]), None):
            told = f"{row[column]!r}, and the tar {found[column]!r}"
            different = f"row {count - 1:,} has {column} {told}"
        elif row["sha256"] is not None:
            data = image and image.data
            if data is None or hashlib.sha256(data).digest() != row["sha256"]:
                different = f"row {count - 1:,} has a sha256 that differs from the tar's image"
    if count != len(rows):
        raise Unsound(f"{len(rows):,} rows, but the tar holds {count:,} samples")
    if different:
        raise Unsound(different)


# --- compacted annotations -----------------------------------------------------------------------

_AGAIN = "compact again, with --overwrite"


def verify_compacted(folder: RunFolder) -> Findings:
    """Check that each file of the folder is as `compact` wrote it, which had checked every row."""
    found = Findings(problems=list(leftovers(folder)))
    try:
        sums = CompactRecord.decode(read_bytes(join(folder.url, COMPACTING))).sums
    except DocumentError as error:
        found.problems.append(Problem(place=COMPACTING, trouble=str(error), remedy=_AGAIN))
        return found
    for name, expected in sums.items():
        trouble = "" if name in folder.files else "is missing"
        if not trouble and sum_of(join(folder.url, name)) != expected:
            trouble = "its bytes have changed"
        if trouble:
            found.problems.append(Problem(place=name, trouble=trouble, remedy=_AGAIN))
    if not sums:
        found.problems.append(unfinished("compact"))
    found.problems += strangers(folder.files - {*sums, COMPACTING}, "is not a file of `compact`")
    found.counts = {"files": len(sums)}
    if not found.problems:
        places = OutputFolder(folder.url).annotations.places.values()
        rows = sum(place.footer.report.rows for place in places)
        found.counts |= {"shards": len(places), "rows checked": rows}
    return found
