"""One output shard: the core loop. Only the `.json` of samples changes, which gets scores."""

from __future__ import annotations

import codecs
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from shardsift.documents import Document
from shardsift.errors import AnnotationError, InputError, OutputError, ShardError
from shardsift.filtering.kept_folder import Filtered
from shardsift.outputs.sealed_table import AnnotationFiles, digest_in
from shardsift.progress import Meter
from shardsift.records import ShardIdentity
from shardsift.redaction import reason
from shardsift.resharding.packing import ReshardTask, Segment, stats_name
from shardsift.resharding.source import PLACES, RawSample, kept_rows, read_kept
from shardsift.shards.names import annotation_name
from shardsift.shards.tars import end_of_archive, new_headers, padded, resized
from shardsift.storage.files import commit, committing, identify
from shardsift.storage.lease import Lease
from shardsift.storage.local import no_guard

_SPACE: Final = b" \t\r\n"
_SPACES: Final = _SPACE.decode()
"""Between the tokens of JSON."""

_DECODER: Final = json.JSONDecoder(parse_float=str, parse_int=str)
"""Numbers needn't be read, however large they are."""


class SampleChunks(NamedTuple):
    """The bytes of a sample in a tar, piece by piece."""

    chunks: Sequence[bytes | memoryview]
    json_made: bool = False
    json_left: bool = False
    is_split: bool = False


def sample_chunks(sample: RawSample, columns: Collection[str]) -> SampleChunks:
    """Return a sample with the fields of these columns in its `.json`."""
    data, old = sample.data, sample.json
    as_it_was = [data[begin:end] for begin, end in sample.spans]
    if not columns:
        return SampleChunks(as_it_was, is_split=sample.is_split)
    if old is None:
        content = f"{{{sample.fields}}}".encode()
        folder, slash, name = sample.first.rpartition(b"/")
        key = folder + slash + name.partition(b".")[0]
        new_json = [new_headers(key + b".json", len(content)), _filled(content)]
        chunks = [*as_it_was, *new_json]
        return SampleChunks(chunks, json_made=not sample.is_split, is_split=sample.is_split)
    merged = None
    if old.is_plain:
        merged = _merged(bytes(data[old.data : old.data + old.size]), sample.fields, columns)
    if merged is None:
        return SampleChunks(as_it_was, json_left=True, is_split=sample.is_split)
    headers = resized(bytes(data[old.begin : old.data]), len(merged))
    chunks = list[bytes | memoryview]()
    for begin, end in sample.spans:
        if begin <= old.begin < end:
            chunks += data[begin : old.begin], headers, _filled(merged), data[old.end : end]
        else:
            chunks.append(data[begin:end])
    return SampleChunks(chunks, is_split=sample.is_split)


def _merged(content: bytes, added: str, columns: Collection[str]) -> bytes | None:
    """Add fields behind those of a JSON object; None if it is none.

    Fields that have a name among `columns` are replaced, the others stay as they were written.
    """
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        fields = _parsed(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    fields = cast(dict[str, Any], fields)
    if fields.keys().isdisjoint(columns):
        begin = content.rstrip(_SPACE).removesuffix(b"}").rstrip(_SPACE)
        return b"".join([begin, b", " if fields else b"", added.encode(), b"}"])
    others = (text for name, text in _members(content.decode()) if name not in columns)
    return f"{{{', '.join([*others, added])}}}".encode()


def _members(text: str) -> Iterator[tuple[str, str]]:
    """Yield the names of an object's fields, and the text of each field."""
    at = _skip(text, _skip(text, 0) + 1)
    while text[at] != "}":
        name, end = _DECODER.raw_decode(text, at)
        _, end = _DECODER.raw_decode(text, _skip(text, _skip(text, end) + 1))
        yield name, text[at:end]
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    """Find the next character that is no space."""
    while text[at] in _SPACES:
        at += 1
    return at


def _parsed(content: bytes) -> Any:
    try:
        return from_json(content)  # takes half the time, but refuses lone surrogates
    except ValueError:
        return _DECODER.decode(content.decode())


def _filled(content: bytes) -> bytes:
    return content.ljust(padded(len(content)), b"\0")


class StatusCounts(Document):
    """Counts of samples by outcome, in img2dataset's words."""

    success: int


class ShardStats(Document):
    """`…_stats.json` of a tar: img2dataset's keys, and ours."""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class ReshardInputs:
    """Inputs that all output shards of a run share.

    `filtered` has the keep-list of `annotations`, whose `columns` are written into each `.json`;
    `in_place` is true if the sources haven't moved since they were scored, so that versions can be
    compared. Nothing is committed once the `lease` of the output is lost.
    """

    filtered: Filtered
    annotations: AnnotationFiles
    columns: tuple[str, ...]
    in_place: bool
    lease: Lease | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReshardReport:
    """Report of an output shard: `json_made` samples got a `.json`, as they had none; that of
    `json_left` samples isn't a JSON object, and was copied. `split` samples lost files that are
    elsewhere in their source. `bytes` is the tar's size."""

    shard: str
    samples: int
    bytes: int
    json_made: int = 0
    json_left: int = 0
    split: int = 0
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
    samples = size = made = left = split = 0
    try:
        counting = (meter or Meter()).shard(task.shard, task.bytes)
        guard = inputs.lease.guard if inputs.lease else no_guard
        with committing(task.url, guard) as file, counting as own:
            for sample in samples_of(task, inputs):
                file.writelines(sample.chunks)
                samples += 1
                made += sample.json_made
                left += sample.json_left
                split += sample.is_split
                size += sum(map(len, sample.chunks))
                own.add(size)
            end = end_of_archive(size)
            file.write(end)
        report = ReshardReport(
            shard=task.shard,
            samples=samples,
            bytes=size + len(end),
            json_made=made,
            json_left=left,
            split=split,
            seconds=perf_counter() - started,
        )
        commit(stats_name(task.url), report.as_stats().encode(), guard)
    except (OSError, OutputError) as error:
        problem = f"can't be written: {reason(error)}"
        raise ShardError(task.shard, problem, may_pass=True) from error
    return report


def samples_of(task: ReshardTask, inputs: ReshardInputs) -> Iterator[SampleChunks]:
    """Yield the bytes of an output shard's samples, in order. Raises ShardError."""
    for segment in task.segments:
        for sample in _samples_of(segment, task.shard, inputs):
            yield sample_chunks(sample, inputs.columns)


def _samples_of(segment: Segment, shard: str, inputs: ReshardInputs) -> Iterator[RawSample]:
    """Yield the samples of a segment; the version of its shard is checked before and after."""
    try:
        kept = read_matching(
            annotation_name(segment.shard), inputs, [*dict.fromkeys([*PLACES, *inputs.columns])]
        )
        index_N = kept.index_N
        wanted_N = index_N[(index_N >= segment.first) & (index_N <= segment.last)]
        if len(wanted_N) != segment.samples:
            problem = "its keep-list has changed since the plan was made"
            raise ShardError(segment.shard, problem)
        check_source(segment.url, kept.scored, in_place=inputs.in_place)
        rows = kept_rows(kept.rows, wanted_N, kept.scored.size, inputs.columns)
        yield from read_kept(segment.url, segment.shard, rows)
        check_source(segment.url, kept.scored, in_place=inputs.in_place)
    except (ShardError, InputError, AnnotationError) as error:
        raise ShardError(shard, str(error)) from error


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


def check_source(url: str, scored: ShardIdentity, *, in_place: bool) -> None:
    """Raise ShardError if a shard has changed since it was scored: by its size, and if it hasn't
    moved, by its etag, else its modification time."""
    try:
        now = identify(url, scored.path)
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
