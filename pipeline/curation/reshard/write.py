"""One output shard: the core loop."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple, cast

from pipeline.curation.kept import KEEP_LIST, read_keep_list
from pipeline.curation.reshard.headers import (
    Member,
    Piece,
    end_of_archive,
    new_headers,
    padded,
    resized,
)
from pipeline.curation.reshard.plan import ReshardTask, Segment, stats_name
from pipeline.curation.reshard.source import CUES, RawSample, kept_rows, read_kept
from pipeline.errors import AnnotationError, ShardError
from pipeline.output import Annotations, as_json
from pipeline.plan import annotation_name
from pipeline.records import ShardIdentity, ShardTask
from pipeline.redaction import reason
from pipeline.storage import commit, committing, identify, join

_COLUMNS = ("key", "tar_offset", "tar_size", *CUES)


@dataclass(frozen=True, kw_only=True, slots=True)
class CopySettings:
    """What is the same for all output shards of a run.

    `keep` is the output of `filter`, `annotations` are those that were filtered; `in_place` says
    that the sources lie where they were scored, so that their versions can be compared.
    """

    keep: str
    annotations: Annotations
    annotate: bool
    in_place: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ReshardReport:
    """What came of an output shard: `json_made` samples got a `.json` that they hadn't, and of
    `json_left` it was left as it was, for it isn't a JSON object. `bytes` is the tar's size."""

    shard: str
    samples: int
    bytes: int
    json_made: int = 0
    json_left: int = 0
    seconds: float = 0.0

    def as_stats(self) -> dict[str, Any]:
        """For `_stats.json`, in img2dataset's words."""
        return {
            "count": self.samples,
            "successes": self.samples,
            "failed_to_download": 0,
            "failed_to_resize": 0,
            "duration": self.seconds,
            "status_dict": {"success": self.samples},
            "bytes": self.bytes,
            "json_made": self.json_made,
            "json_left": self.json_left,
        }


def write_shard(task: ReshardTask, settings: CopySettings) -> ReshardReport:
    """Copy the samples of an output shard, and commit it.

    Raises:
        ShardError: where a source can't be read or isn't what was scored, or the output can't be
            written; nothing is left of it then.
    """
    started = perf_counter()
    samples = size = made = left = 0
    try:
        with committing(task.url) as file:
            for segment in task.segments:
                for sample in _samples_of(segment, task.shard, settings):
                    chunks = sample_chunks(sample, merge=settings.annotate)
                    file.writelines(chunks.chunks)
                    samples += 1
                    made += chunks.json_made
                    left += chunks.json_left
                    size += sum(map(len, chunks.chunks))
            end = end_of_archive(size)
            file.write(end)
        report = ReshardReport(
            shard=task.shard,
            samples=samples,
            bytes=size + len(end),
            json_made=made,
            json_left=left,
            seconds=perf_counter() - started,
        )
        commit(stats_name(task.url), as_json(report.as_stats()))
    except OSError as error:
        raise ShardError(task.shard, f"can't be written: {reason(error)}") from error
    return report


def _samples_of(segment: Segment, shard: str, settings: CopySettings) -> Iterator[RawSample]:
    """The samples of a part of a source shard, which is what was scored before and after."""
    source = ShardTask(url=segment.url, shard=segment.shard, annotation="")
    name = annotation_name(segment.shard)
    try:
        scored = settings.annotations.scored(name).shard
        table = settings.annotations.read(name, _COLUMNS)
        kept = read_keep_list(join(join(settings.keep, KEEP_LIST), name))
    except AnnotationError as error:
        raise ShardError(shard, str(error)) from error
    kept_N = kept.table["index"].to_numpy()
    wanted_N = kept_N[(kept_N >= segment.first) & (kept_N <= segment.last)]
    if len(wanted_N) != segment.samples:
        problem = f"{segment.shard}: its keep-list has changed since the plan was made"
        raise ShardError(shard, problem)
    try:
        check_source(source, scored, in_place=settings.in_place)
        yield from read_kept(segment.url, segment.shard, kept_rows(table, wanted_N, scored.size))
        check_source(source, scored, in_place=settings.in_place)
    except ShardError as error:
        raise ShardError(shard, str(error)) from error


def check_source(source: ShardTask, scored: ShardIdentity, *, in_place: bool) -> None:
    """Raise ShardError where a shard isn't the one that was scored: by its size, and where it
    hasn't moved by its etag, else its modification time."""
    try:
        now = identify(source)
    except OSError as error:
        raise ShardError(source.shard, f"can't be found: {reason(error)}") from error
    changes = [("size", str(scored.size), str(now.size))]
    if in_place:
        changes.append(("version", scored.version, now.version))
    for what, then, found in changes:
        if then != found:
            raise ShardError(
                source.shard,
                f"has changed since it was scored ({what} {then} then, {found} now); score it "
                "again with --check-inputs, and filter again",
            )


class SampleChunks(NamedTuple):
    """The bytes of a sample in a tar, piece by piece."""

    chunks: Sequence[bytes | memoryview]
    json_made: bool = False
    json_left: bool = False


def sample_chunks(sample: RawSample, *, merge: bool) -> SampleChunks:
    """A sample as it was, but for its `.json`, into which its cues are merged if asked for."""
    piece, members = sample.piece, list(sample.files.values())
    if not merge:
        return SampleChunks(_runs(piece, members))
    old = sample.files.get("json")
    if old is None:
        return SampleChunks([*_runs(piece, members), *_new_json(sample)], json_made=True)
    merged = None
    if old.can_resize:
        merged = _merged(piece[old.data : old.data + old.size], sample.row.cues)
    if merged is None:
        return SampleChunks(_runs(piece, members), json_left=True)
    headers = resized(piece[old.begin : old.data], len(merged))
    place = list(sample.files).index("json")
    before, behind = _runs(piece, members[:place]), _runs(piece, members[place + 1 :])
    return SampleChunks([*before, headers + _filled(merged), *behind])


def _runs(piece: Piece, members: Sequence[Member]) -> list[memoryview]:
    """The bytes of members; those that stand together in one chunk."""
    bounds: list[list[int]] = []
    for member in members:
        if bounds and bounds[-1][1] == member.begin:
            bounds[-1][1] = member.end
        else:
            bounds.append([member.begin, member.end])
    view = memoryview(piece)
    return [view[begin:end] for begin, end in bounds]


def _merged(content: bytes, cues: str) -> bytes | None:
    """A JSON object with the cues behind its fields, which stay as they are; None where it is none.

    Fields that have a cue's name are replaced.
    """
    try:
        text = content.decode("utf-8-sig")
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    fields = cast(dict[str, Any], fields)
    if any(name in fields for name in CUES):
        fields = {name: value for name, value in fields.items() if name not in CUES}
        text = json.dumps(fields)
    begin = text.rstrip().removesuffix("}").rstrip()
    return f"{begin}{', ' if fields else ''}{cues}}}".encode()


def _new_json(sample: RawSample) -> list[bytes]:
    content = f"{{{sample.row.cues}}}".encode()
    folder, slash, name = next(iter(sample.files.values())).name.rpartition(b"/")
    key = folder + slash + name.partition(b".")[0]
    return [new_headers(key + b".json", len(content)), _filled(content)]


def _filled(content: bytes) -> bytes:
    return content.ljust(padded(len(content)), b"\0")
