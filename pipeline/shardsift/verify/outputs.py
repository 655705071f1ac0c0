"""Tell whether an output folder is complete and consistent, and what to delete if it isn't.

Every planned shard has one sound annotation, or one record of its failure; nothing else is there.
A file is deleted only if this folder has a `_run.json`, and the file is Shardsift's by its
footer, by its name that begins with `_`, or, too damaged to tell, by the name of a planned shard.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from shardsift.errors import AnnotationError, InputError, OutputError, ShardError
from shardsift.outputs.embeddings import embeddings_name, is_embeddings
from shardsift.outputs.folder import MANIFEST, SUMMARY, OutputFolder, failed_name
from shardsift.outputs.manifest import Totals, read_outcomes
from shardsift.outputs.records import RunRecord
from shardsift.outputs.sealed_table import Footer
from shardsift.records import ShardIdentity, ShardReport, ShardTask, has_changed
from shardsift.redaction import reason
from shardsift.shards.plan import ShardPlan, plan_shards
from shardsift.shards.samples import read_samples
from shardsift.storage.files import ANNOTATION_SUFFIX, SHARD_SUFFIX, identify, join, sum_of
from shardsift.storage.finding import lone_folder
from shardsift.threads import Track, map_ordered, no_track
from shardsift.verify.files import (
    check_annotation,
    check_embeddings,
    check_failure,
    check_summary,
)
from shardsift.verify.findings import Problem, Unsound, leftovers, unfinished
from shardsift.verify.sources import compare_samples

_THREADS = 32
_THREADS_THAT_RECOUNT = 4  # each holds a sample in memory


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """An output folder, and the shards that it should hold the annotations of."""

    folder: OutputFolder
    record: RunRecord
    plan: ShardPlan


@dataclass(kw_only=True, slots=True)
class Verification:
    """What was found: counts of what is sound, and all problems."""

    shards: int
    annotated: int = 0
    failed: list[str] = field(default_factory=list[str])
    rows: int = 0
    recounted: int = 0
    problems: list[Problem] = field(default_factory=list[Problem])
    unchecked: list[str] = field(default_factory=list[str])

    @property
    def counts(self) -> dict[str, int]:
        """What was looked at, by its name."""
        return {
            "shards planned": self.shards,
            "with a sound annotation": self.annotated,
            "given up, see _failed": len(self.failed),
            "rows checked": self.rows,
            "tars read again": self.recounted,
        }


@dataclass(kw_only=True, slots=True)
class _Shard:
    """One planned shard; `report` is None unless its annotation is sound."""

    task: ShardTask
    report: ShardReport | None = None
    is_failed: bool = False
    recounted: bool = False
    problems: list[Problem] = field(default_factory=list[Problem])


def claim_output(output: str, shards: Sequence[str] = ()) -> Claim:
    """Find what an output should hold: `shards`, else the inputs that its run recorded.

    Raises:
        OutputError: if the folder is no output of Shardsift.
        InputError: if the shards can't be found.
    """
    folder = OutputFolder(output)
    if folder.record is None:
        raise OutputError(f"{output}: no _run.json here; name the --output of a run")
    if folder.is_compacted:
        raise OutputError(f"{output}: holds compacted annotations, which are verified otherwise")
    return Claim(folder=folder, record=folder.record, plan=_plan(folder, folder.record, shards))


def _plan(output: OutputFolder, record: RunRecord, shards: Sequence[str]) -> ShardPlan:
    """Plan the given shards, else those of the run; one folder elsewhere is where they lie now."""
    try:
        plan = plan_shards(shards or record.patterns())
    except InputError as error:
        if shards:
            raise
        raise InputError(f"{error}; if they have moved, name their folder: --shards DIR") from error
    if plan.lies_below(record.root):
        return plan.below(record.root)
    if folder := lone_folder(shards):
        return output.plan_moved_to(folder)
    raise InputError(
        f"the run's shards lay below {record.root}, these lie in {plan.root}; if they have moved, "
        "name their folder alone: --shards DIR"
    )


def verify(claim: Claim, *, recount: bool = False, track: Track = no_track) -> Verification:
    """Check everything; `recount` reads the tars, too. `track` shows the shards that are done.

    Raises:
        OutputError: if a file can't be fetched, which says nothing about the file.
    """
    found = Verification(shards=claim.plan.count)
    outcomes: dict[str, ShardReport | None] = {}
    unplanned = claim.folder.committed | claim.folder.failed
    if claim.record.extras.embeddings:
        unplanned |= set(filter(is_embeddings, claim.folder.files))
    check = partial(_check_shard, claim, recount)
    threads = _THREADS_THAT_RECOUNT if recount else _THREADS
    for shard in track(
        map_ordered(check, claim.plan, threads), "checking shards", claim.plan.count
    ):
        unplanned -= {shard.task.annotation, failed_name(shard.task.shard)}
        unplanned -= {embeddings_name(shard.task.annotation)}
        _count(found, shard)
        if shard.is_failed or shard.report:
            outcomes[shard.task.shard] = shard.report
    found.problems += (_unplanned(name) for name in sorted(unplanned))
    found.problems += leftovers(claim.folder)
    found.problems += _check_results(claim, outcomes)
    return found


def _check_shard(claim: Claim, recount: bool, task: ShardTask) -> _Shard:
    shard = _Shard(task=task)
    record = failed_name(task.shard)
    is_recorded = record in claim.folder.failed
    try:
        if task.annotation in claim.folder.committed:
            footer, rows = check_annotation(claim.folder.url, task, claim.record)
            check_embeddings(claim.folder.url, task, footer, rows)
            shard.report = footer.report
            if is_recorded:
                shard.problems.append(_stale(task))
            if recount:
                _recount(shard, footer, rows, has_moved=claim.folder.has_moved(claim.plan))
        elif is_recorded:
            if fault := check_failure(join(claim.folder.url, record), task.shard):
                raise fault
            shard.is_failed = True
            has_embeddings = claim.record.extras.embeddings
            if has_embeddings and embeddings_name(task.annotation) in claim.folder.files:
                shard.problems.append(_stray(task))
        else:
            shard.problems.append(_missing(task))
    except Unsound as fault:
        shard.report = None
        shard.problems.append(_unsound(task, fault, claim.record))
    except OSError as error:
        raise OutputError(f"{task.annotation}: can't be read: {reason(error)}") from error
    return shard


def _recount(shard: _Shard, footer: Footer, rows: Any, *, has_moved: bool) -> None:
    """Compare a tar with its annotation. Raises Unsound if it holds other samples."""
    task = shard.task
    try:
        now = identify(task.url, task.shard)
        if has_changed(now, footer.shard, has_moved=has_moved):
            shard.problems.append(_changed(task, footer, now))
        compare_samples(read_samples(task.url, task.shard), rows)
    except (OSError, ShardError) as error:
        trouble = error.problem if isinstance(error, ShardError) else reason(error)
        remedy = "mend the tar; its annotation is kept"
        shard.problems.append(Problem(place=task.shard, trouble=trouble, remedy=remedy))
        return
    shard.recounted = True


def _count(found: Verification, shard: _Shard) -> None:
    found.problems += shard.problems
    found.recounted += shard.recounted
    if shard.is_failed:
        found.failed.append(shard.task.shard)
    if shard.report:
        found.annotated += 1
        found.rows += shard.report.rows


def _check_results(claim: Claim, outcomes: dict[str, ShardReport | None]) -> Generator[Problem]:
    """Compare manifest and files if these are sound, and the summary with the manifest."""
    files, url = claim.folder.files, claim.folder.url
    if SUMMARY not in files:
        yield unfinished("score")
        return
    totals = Totals()
    manifest = ""
    try:
        if MANIFEST not in files:
            raise AnnotationError("is missing, though the summary is there")
        manifest = sum_of(join(url, MANIFEST))
        wrong = _wrong_rows(claim, dict(outcomes), totals)
        if wrong:
            raise AnnotationError(f"disagrees with {len(wrong):,} shards, such as {wrong[0]}")
    except AnnotationError as error:
        trouble = str(error).removeprefix(f"{join(url, MANIFEST)}: ")
        yield _rewritten(MANIFEST, trouble, MANIFEST, SUMMARY)
        return
    try:
        check_summary(join(url, SUMMARY), totals, claim.record, manifest)
    except Unsound as fault:
        # Which of them is wrong, if only the sum differs, nobody knows.
        yield _rewritten(SUMMARY, str(fault), MANIFEST, SUMMARY)


def _wrong_rows(claim: Claim, outcomes: dict[str, ShardReport | None], totals: Totals) -> list[str]:
    """List the shards of which manifest and files say different things, and fill `totals`."""
    wrong: list[str] = []
    planned = {task.shard for task in claim.plan}
    for shard, report in read_outcomes(join(claim.folder.url, MANIFEST)):
        if report is None:
            totals.failed_shards += 1
        else:
            totals.add(report)
        if shard in outcomes:
            if not _agree(outcomes.pop(shard), report):
                wrong.append(shard)
        elif shard not in planned and not _is_there(claim, shard):
            wrong.append(shard)
    return wrong + list(outcomes)


def _is_there(claim: Claim, shard: str) -> bool:
    """Tell whether a shard that was not asked for has left something."""
    names = {shard.removesuffix(SHARD_SUFFIX) + ANNOTATION_SUFFIX, failed_name(shard)}
    return bool(names & claim.folder.files)


def _agree(found: ShardReport | None, told: ShardReport | None) -> bool:
    if found is None or told is None:
        return found is told
    return replace(found, seconds=told.seconds, stages=told.stages) == told


def _missing(task: ShardTask) -> Problem:
    return Problem(
        place=task.shard,
        trouble="has neither an annotation nor a record of its failure",
        remedy="run the same score command again",
        rescores=True,
    )


def _unsound(task: ShardTask, fault: Unsound, record: RunRecord) -> Problem:
    if not fault.is_ours:
        remedy = f"move {task.annotation} elsewhere, then score again"
        return Problem(place=task.shard, trouble=str(fault), remedy=remedy)
    return Problem(
        place=task.shard,
        trouble=str(fault),
        remedy="--repair, then score again",
        deletes=(
            task.annotation,
            failed_name(task.shard),
            *([embeddings_name(task.annotation)] if record.extras.embeddings else []),
        ),
        rescores=True,
    )


def _stale(task: ShardTask) -> Problem:
    record = failed_name(task.shard)
    trouble = f"is annotated, and yet {record} says that it failed"
    return Problem(place=task.shard, trouble=trouble, remedy="--repair", deletes=(record,))


def _stray(task: ShardTask) -> Problem:
    name = embeddings_name(task.annotation)
    trouble = "has no annotation"
    return Problem(place=name, trouble=trouble, remedy="--repair", deletes=(name,))


def _changed(task: ShardTask, footer: Footer, now: ShardIdentity) -> Problem:
    then = footer.shard
    return Problem(
        place=task.shard,
        trouble=f"has changed since it was scored: {then.size:,} bytes and version {then.version} "
        f"then, {now.size:,} and {now.version} now",
        remedy="score again with --check-inputs",
    )


def _unplanned(name: str) -> Problem:
    trouble = "belongs to no shard of this run"
    remedy = "name all shards with --shards, or delete it yourself"
    return Problem(place=name, trouble=trouble, remedy=remedy)


def _rewritten(place: str, trouble: str, *deletes: str) -> Problem:
    remedy = "--repair, then score again: that writes it anew"
    return Problem(place=place, trouble=trouble, remedy=remedy, deletes=deletes)
