"""One output shard: the core loop. Samples are copied or packed anew; rows of Parquet are kept."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, BinaryIO, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shardsift.documents import Document
from shardsift.errors import AnnotationError, InputError, OutputError, ShardError
from shardsift.filtering.kept_folder import Filtered
from shardsift.outputs.sealed_table import AnnotationFiles, digest_in
from shardsift.progress import Meter
from shardsift.reading import TARS, Reading
from shardsift.records import ShardIdentity, ShardTask
from shardsift.redaction import reason
from shardsift.resharding.packing import ReshardTask, Segment, stats_name
from shardsift.resharding.repacked import read_repacked, repacked_rows
from shardsift.resharding.sample_files import SampleChunks, sample_chunks
from shardsift.resharding.source import PLACES, check_picture, kept_rows, read_kept
from shardsift.shards.names import annotation_name
from shardsift.shards.parquet import pictures_in
from shardsift.shards.parquet_rows import batches_of, opened, write_like
from shardsift.shards.readers import identify_shard
from shardsift.shards.tars import end_of_archive
from shardsift.storage.files import Summing, commit, committing
from shardsift.storage.lease import Lease
from shardsift.storage.local import no_guard


class StatusCounts(Document):
    """Counts of samples by outcome, in img2dataset's words."""

    success: int


class ShardStats(Document):
    """`…_stats.json` of a shard: img2dataset's keys, and ours."""

    count: int
    successes: int
    failed_to_download: int
    failed_to_resize: int
    duration: float
    status_dict: StatusCounts
    bytes: int
    json_made: int
    json_left: int
    split: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ReshardInputs:
    """Inputs that all output shards of a run share.

    `filtered` has the keep-list of `annotations`, whose `columns` are written into each `.json`;
    `in_place` is true if the sources haven't moved since they were scored, so that versions can be
    compared. `reading` tells the kind of the sources, `to` that of new shards. Nothing is committed
    once the `lease` of the output is lost.
    """

    filtered: Filtered
    annotations: AnnotationFiles
    columns: tuple[str, ...]
    in_place: bool
    reading: Reading = TARS
    to: Literal["tar", "parquet"] = "tar"
    lease: Lease | None = None

    @property
    def copies(self) -> bool:
        """Return whether samples are files of tars, and keep their bytes and names."""
        return self.reading == TARS


@dataclass(frozen=True, kw_only=True, slots=True)
class ReshardReport:
    """Report of an output shard.

    `json_made` samples got a `.json`, as they had none; that of `json_left` samples isn't a JSON
    object, and was copied. `split` samples lost files that are elsewhere in their source. `bytes`
    is the shard's size, `sha256` the hash of a Parquet file.
    """

    shard: str
    samples: int
    bytes: int
    json_made: int = 0
    json_left: int = 0
    split: int = 0
    sha256: str = ""
    seconds: float = 0.0

    def as_stats(self) -> ShardStats:
        """Return it for `_stats.json`."""
        return ShardStats(
            count=self.samples,
            successes=self.samples,
            failed_to_download=0,
            failed_to_resize=0,
            duration=self.seconds,
            status_dict=StatusCounts(success=self.samples),
            bytes=self.bytes,
            json_made=self.json_made,
            json_left=self.json_left,
            split=self.split,
            sha256=self.sha256,
        )


def write_shard(
    inputs: ReshardInputs, task: ReshardTask, meter: Meter | None = None
) -> ReshardReport:
    """Copy the samples of an output shard, which a meter counts, and commit it.

    Raises:
        ShardError: if a source can't be read or has changed, or the output can't be written; no
            file remains then.
    """
    started = perf_counter()
    try:
        counting = (meter or Meter()).shard(task.shard, task.bytes)
        guard = inputs.lease.guard if inputs.lease else no_guard
        write = _write_parquet if inputs.to == "parquet" else _write_tar
        with committing(task.url, guard) as file, counting as own:
            report = write(file, inputs, task, own.add)
        report = replace(report, seconds=perf_counter() - started)
        commit(stats_name(task.url), report.as_stats().encode(), guard)
    except (OSError, OutputError) as error:
        problem = f"can't be written: {reason(error)}"
        raise ShardError(task.shard, problem, may_pass=True) from error
    return report


# --- tars ----------------------------------------------------------------------------------------


def _write_tar(
    file: BinaryIO, inputs: ReshardInputs, task: ReshardTask, count: Callable[[int], None]
) -> ReshardReport:
    samples = size = made = left = split = 0
    for sample in samples_of(task, inputs):
        file.writelines(sample.chunks)
        samples += 1
        made += sample.json_made
        left += sample.json_left
        split += sample.is_split
        size += sum(map(len, sample.chunks))
        count(size)
    end = end_of_archive(size)
    file.write(end)
    return ReshardReport(
        shard=task.shard,
        samples=samples,
        bytes=size + len(end),
        json_made=made,
        json_left=left,
        split=split,
    )


def samples_of(task: ReshardTask, inputs: ReshardInputs) -> Iterator[SampleChunks]:
    """Yield the bytes of an output shard's samples, in order. Raises ShardError."""
    stem = task.shard.rpartition(".")[0]
    names = (f"{stem}_{place:06}" for place in itertools.count())
    for segment in task.segments:
        with _segment(segment, task.shard, inputs) as (kept, wanted_N):
            if inputs.copies:
                rows = kept_rows(kept.rows, wanted_N, kept.scored.size, inputs.columns)
                for sample in read_kept(segment.url, segment.shard, rows):
                    yield sample_chunks(sample, inputs.columns)
            else:
                rows = repacked_rows(kept.rows, wanted_N, inputs.columns)
                yield from read_repacked(_task_of(segment, inputs), rows, inputs.columns, names)


@contextmanager
def _segment(
    segment: Segment, shard: str, inputs: ReshardInputs
) -> Generator[tuple[KeptOfShard, NDArray[np.int32]]]:
    """Find the kept rows of a segment; the version of its shard is checked before and after.

    Raises ShardError of the output shard for every error of the block.
    """
    try:
        kept = read_matching(
            annotation_name(segment.shard),
            inputs,
            [*dict.fromkeys([*PLACES, "shard", *inputs.columns])],
        )
        index_N = kept.index_N
        wanted_N = index_N[(index_N >= segment.first) & (index_N <= segment.last)]
        if len(wanted_N) != segment.samples:
            problem = "its keep-list has changed since the plan was made"
            raise ShardError(segment.shard, problem)
        source = _task_of(segment, inputs)
        check_source(source, kept.scored, in_place=inputs.in_place)
        yield kept, wanted_N
        check_source(source, kept.scored, in_place=inputs.in_place)
    except (ShardError, InputError, AnnotationError) as error:
        raise ShardError(shard, str(error)) from error


def _task_of(segment: Segment, inputs: ReshardInputs) -> ShardTask:
    return ShardTask(url=segment.url, shard=segment.shard, annotation="", reading=inputs.reading)


# --- Parquet -------------------------------------------------------------------------------------


def _write_parquet(
    file: BinaryIO, inputs: ReshardInputs, task: ReshardTask, count: Callable[[int], None]
) -> ReshardReport:
    first, written = task.segments[0], Summing(file, count)
    try:
        with opened(first.url) as parquet:
            batches = _kept_batches(task, inputs)
            samples = write_like(written, parquet.schema_arrow, parquet.metadata, batches)
    except pa.ArrowException as error:
        raise ShardError(first.shard, f"not readable Parquet: {reason(error)}") from error
    size, sha256 = written.tell(), written.sha256
    return ReshardReport(shard=task.shard, samples=samples, bytes=size, sha256=sha256)


def _kept_batches(task: ReshardTask, inputs: ReshardInputs) -> Iterator[Any]:
    """Yield the kept rows of an output shard, with all columns. Raises ShardError."""
    for segment in task.segments:
        with (
            _segment(segment, task.shard, inputs) as (kept, wanted_N),
            opened(segment.url) as parquet,
        ):
            begin, schema = 0, parquet.schema_arrow
            sums = kept.rows["sha256"].take(wanted_N).to_pylist()
            for batch in batches_of(parquet):
                end = begin + len(batch)
                own_N = wanted_N[(wanted_N >= begin) & (wanted_N < end)]
                rows = batch.take(pa.array(own_N - begin))
                begin = end
                own, sums = sums[: len(rows)], sums[len(rows) :]
                if any(own):
                    pictures = pictures_in(rows, schema, inputs.reading)
                    for place, index in enumerate(own_N):
                        check_picture(pictures[place], own[place], f"row {index}", segment.shard)
                yield rows


@dataclass(frozen=True, slots=True)
class KeptOfShard:
    """Kept samples of a source shard: indices and keys, and all rows of its annotation."""

    scored: ShardIdentity
    index_N: NDArray[np.int32]
    keys: Any
    rows: Any


def read_matching(name: str, inputs: ReshardInputs, columns: Sequence[str]) -> KeptOfShard:
    """Read a shard's keep-list and annotation, and check that they match.

    `columns` are those of the annotation; `key` has to be one.

    Raises:
        InputError: if they don't.
        AnnotationError: if one of them is damaged.
    """
    kept = inputs.filtered.read(name)
    footer = inputs.annotations.footer(name)
    rows = inputs.annotations.read(name, columns)
    index_N, keys = kept.table["index"].to_numpy(), kept.table["key"].combine_chunks()
    if (
        kept.footer.fingerprint != footer.contents.fingerprint
        or kept.footer.annotation != digest_in(rows)
        or int(index_N.min(initial=0)) < 0
        or int(index_N.max(initial=-1)) >= len(rows)
        or not rows["key"].take(index_N).combine_chunks().equals(keys)
    ):
        raise InputError(
            f"{inputs.annotations.url}: {name} doesn't belong to the annotations that were "
            "filtered; filter again, or name those by --annotations"
        )
    return KeptOfShard(footer.shard, index_N, keys, rows)


def check_source(source: ShardTask, scored: ShardIdentity, *, in_place: bool) -> None:
    """Raise ShardError if a shard has changed since it was scored: by its size, and if it hasn't
    moved, by its etag, else its modification time."""
    try:
        now = identify_shard(source)
    except OSError as error:
        raise ShardError(scored.path, f"can't be found: {reason(error)}") from error
    changes = [("size", str(scored.size), str(now.size))]
    if in_place:
        changes.append(("version", scored.version, now.version))
    for what, then, found in changes:
        if then != found:
            raise ShardError(
                scored.path,
                f"has changed since it was scored ({what} {then} then, {found} now); score it "
                "again with --rescore changed, and filter again",
            )
