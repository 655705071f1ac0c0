"""The bytes of a kept sample in a new tar: as they were, but for the scores in its `.json`."""

from __future__ import annotations

import codecs
import json
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from pipeline.curation.reshard.headers import Member, new_headers, padded, resized
from pipeline.curation.reshard.source import CUES, RawSample


class SampleChunks(NamedTuple):
    """The bytes of a sample in a tar, piece by piece."""

    chunks: Sequence[bytes | memoryview]
    json_made: bool = False
    json_left: bool = False


def sample_chunks(sample: RawSample, *, merge: bool) -> SampleChunks:
    """A sample as it was, but for its `.json`, into which its cues are merged if asked for."""
    old = sample.files.get("json")
    if not merge:
        return SampleChunks(_chunks(sample))
    if old is None:
        return SampleChunks([*_chunks(sample), *_new_json(sample)], json_made=True)
    piece = sample.piece
    content = piece[old.data : old.data + old.size]
    merged = _merged(content, sample.row.cues) if old.can_resize else None
    if merged is None:
        return SampleChunks(_chunks(sample), json_left=True)
    headers = resized(piece[old.begin : old.data], len(merged))
    return SampleChunks(_chunks(sample, old, headers + _filled(merged)))


def _chunks(
    sample: RawSample, replaced: Member | None = None, replacement: bytes = b""
) -> list[bytes | memoryview]:
    """The bytes of a sample, files that stand together in one chunk; one of them replaced."""
    view = memoryview(sample.piece)
    chunks: list[bytes | memoryview] = []
    begin = end = -1
    for member in sample.files.values():
        if member is replaced:
            chunks += view[begin:end], replacement
            begin = end = member.end
        elif member.begin == end:
            end = member.end
        else:
            chunks.append(view[begin:end])
            begin, end = member.begin, member.end
    chunks.append(view[begin:end])
    return chunks


def _merged(content: bytes, cues: str) -> bytes | None:
    """A JSON object with the cues behind its fields, which stay as they are; None where it is none.

    Fields that have a cue's name are replaced.
    """
    try:
        text = content.removeprefix(codecs.BOM_UTF8).decode()
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    fields = cast(dict[str, Any], fields)
    if not fields.keys().isdisjoint(CUES):
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
