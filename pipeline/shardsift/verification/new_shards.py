"""Proof that new shards are those of their plan, and tars byte for byte what their sources give."""

from __future__ import annotations

from collections.abc import Iterator

from shardsift.documents import DocumentError
from shardsift.errors import AnnotationError, OutputError, ShardError, UserError
from shardsift.filtering.kept_folder import read_filtered
from shardsift.outputs.output_folder import find_annotations
from shardsift.outputs.run_folder import SUMMARY
from shardsift.resharding.new_shard import ReshardInputs, ShardStats, samples_of
from shardsift.resharding.packing import ReshardPlan, ReshardTask, read_plan, stats_name
from shardsift.resharding.reshard_folder import (
    META,
    PLAN,
    RECORD,
    SIZES,
    ReshardFolder,
    ReshardRecord,
    encode_meta,
    encode_sizes,
)
from shardsift.shards.tars import end_of_archive
from shardsift.storage.files import followed, identify, join, open_stream, read_bytes, sum_of
from shardsift.threads import Track, no_track
from shardsift.verification.findings import (
    Findings,
    Problem,
    Unsound,
    failures,
    leftovers,
    strangers,
    unfinished,
    walk,
)

_THREADS = 4
_AGAIN = "--repair, then run the same reshard command again"


def verify_reshard(
    folder: ReshardFolder, sources: str | None = None, track: Track = no_track
) -> Findings:
    """Check plan, counts and every byte; `sources` is the new folder of the source shards.

    Raises:
        OutputError: if record and plan can't be read.
    """
    found = Findings()
    record = folder.read_record()
    sources_now = sources or followed(record.root, "--shards")
    plan = read_plan(join(folder.url, PLAN), record.plan, sources_now, folder.url, record.form)
    inputs = _find_inputs(record, found, in_place=sources is None) if record.to == "tar" else None

    tars = walk(
        found,
        plan,
        lambda task: _check_tar(folder, task, inputs),
        _wrong,
        track,
        "checking shards",
        len(plan),
        _THREADS,
    )
    sound: list[ShardStats] = []
    compared = 0
    for stats, unchecked in tars:
        sound.append(stats)
        compared += record.to == "parquet" or (inputs is not None and not unchecked)
        found.unchecked += unchecked
    found.problems += _check_records(folder, plan, sound)
    found.problems += _check_strangers(folder, plan)
    found.counts = {
        "shards planned": len(plan),
        "complete, by their counts": len(sound),
        "compared with their sources" if record.to == "tar" else "by their SHA-256": compared,
        "samples": sum(stats.count for stats in sound),
    }
    return found


def _find_inputs(record: ReshardRecord, found: Findings, *, in_place: bool) -> ReshardInputs | None:
    try:
        filtered = read_filtered(followed(record.keep, "reshard again"))
        scores = find_annotations(followed(record.annotations, "reshard again"))
        if filtered.digest != record.keep_list:
            raise OutputError(f"{record.keep}: the keep-list has changed")
    except (UserError, AnnotationError) as error:
        found.unchecked.append(f"shards were not compared with their sources: {error}")
        return None
    return ReshardInputs(
        filtered=filtered,
        annotations=scores.annotations,
        columns=record.columns,
        reading=scores.reading,
        in_place=in_place
        and scores.record is not None
        and scores.record.root == record.root
        and not scores.record.has_moved,
    )


def _check_tar(
    folder: ReshardFolder, task: ReshardTask, inputs: ReshardInputs | None
) -> tuple[ShardStats, list[str]]:
    """Return a tar's counts, and why it wasn't compared with its sources. Raises Unsound."""
    stats = _check_counts(folder, task)
    if stats.sha256 and sum_of(task.url) != stats.sha256:
        raise Unsound("has another SHA-256 than when it was written")
    try:
        if inputs:
            position = 0
            with open_stream(task.url) as file:
                for sample in samples_of(task, inputs):
                    for chunk in sample.chunks:
                        if file.read(len(chunk)) != chunk:
                            raise Unsound(f"differs from its sources from byte {position:,} on")
                        position += len(chunk)
                end = end_of_archive(position)
                if file.read(len(end) + 1) != end:
                    raise Unsound(f"has a wrong end after byte {position:,}")
    except ShardError as error:
        return stats, [f"{task.shard} was not compared: {error.problem}"]
    return stats, []


def _wrong(task: ReshardTask, fault: Unsound) -> Problem:
    names = task.shard, stats_name(task.shard)
    return Problem(
        place=task.shard, trouble=str(fault), remedy=_AGAIN, deletes=names, rescores=True
    )


def _check_counts(folder: ReshardFolder, task: ReshardTask) -> ShardStats:
    """Return the counts of a tar, if they are possible. Raises Unsound."""
    if task.shard not in folder.files:
        raise Unsound("is missing")
    try:
        stats = ShardStats.decode(read_bytes(join(folder.url, stats_name(task.shard))))
    except FileNotFoundError as error:
        raise Unsound("has no counts beside it") from error
    except DocumentError as error:
        raise Unsound(f"its counts are damaged: {error}") from error
    size = identify(task.url, task.shard).size
    if size != stats.bytes:
        raise Unsound(f"has {size:,} bytes, but was written with {stats.bytes:,}")
    if stats.count != task.samples:
        raise Unsound(f"holds {stats.count:,} samples, but {task.samples:,} are planned")
    return stats


def _check_records(
    folder: ReshardFolder, plan: ReshardPlan, sound: list[ShardStats]
) -> Iterator[Problem]:
    if SUMMARY not in folder.files:
        yield unfinished("reshard")
        return
    for name, expected in ((SIZES, encode_sizes(plan)), (META, encode_meta(plan))):
        if name not in folder.files or read_bytes(join(folder.url, name)) != expected:
            yield _rewritten(name, "has changed since it was written")
    try:
        summary = folder.read_summary()
    except DocumentError as error:
        yield _rewritten(SUMMARY, str(error))
        return
    told = summary.shards, summary.samples, summary.bytes
    if len(sound) == len(plan) and told != (
        *(len(plan), plan.samples, sum(stats.bytes for stats in sound)),
    ):
        yield _rewritten(SUMMARY, "disagrees with the shards")


def _check_strangers(folder: ReshardFolder, plan: ReshardPlan) -> Iterator[Problem]:
    known = {RECORD, PLAN, SIZES, META, SUMMARY}
    for task in plan:
        known |= {task.shard, stats_name(task.shard)}
    tars = [task.shard for task in plan]
    yield from failures(folder, tars, "records a failed shard", _AGAIN)
    yield from leftovers(folder)
    yield from strangers(folder.files - known - folder.failed, "belongs to no shard of the plan")


def _rewritten(name: str, trouble: str) -> Problem:
    return Problem(place=name, trouble=trouble, remedy=_AGAIN, deletes=(name,), rescores=True)
