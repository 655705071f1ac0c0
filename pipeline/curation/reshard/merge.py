"""The bytes of a kept sample in a new tar: as they were, but for the scores in its `.json`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from pipeline.curation.reshard.headers import Member, Piece, new_headers, padded, resized
from pipeline.curation.reshard.source import CUES, RawSample


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
