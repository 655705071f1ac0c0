"""The files of a sample in a new tar, and the scores in its `.json`."""

from __future__ import annotations

import codecs
import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, NamedTuple, cast

from pydantic_core import from_json

from shardsift.records import Sample
from shardsift.resharding.source import RawSample
from shardsift.shards.tars import new_headers, padded, resized

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


def _filled(content: bytes) -> bytes:
    return content.ljust(padded(len(content)), b"\0")


def packed_chunks(sample: Sample, key: str, fields: str, columns: Collection[str]) -> SampleChunks:
    """Return a whole sample as files with a new key, and the fields of these columns."""
    files = dict(sample.beside)
    if sample.image and sample.image.data is not None:
        files = {sample.image.extension or "bin": sample.image.data, **files}
    json, is_left = sample.json, False
    if columns:
        told = f"{{{fields}}}".encode() if json is None else _merged(json, fields, columns)
        is_left = told is None
        json = json if is_left else told
    if json is not None:
        files["json"] = json
    chunks: list[bytes | memoryview] = []
    for extension, content in files.items():
        chunks += new_headers(f"{key}.{extension}".encode(), len(content)), _filled(content)
    is_made = sample.json is None and json is not None
    return SampleChunks(chunks, json_made=is_made, json_left=is_left)


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
