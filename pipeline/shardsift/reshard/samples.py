"""Find samples in a piece of a tar; samples are what `shardsift.shards` takes for one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from shardsift.reshard.headers import BLOCK, Member, TarPiece
from shardsift.reshard.rows import KeptRow
from shardsift.shards.samples import key_and_extension


class RawSample(NamedTuple):
    """A kept sample, as it lies in a piece of a tar."""

    data: memoryview
    """The piece."""
    fields: str
    """Its scores, as `KeptRow` has them."""
    spans: Sequence[tuple[int, int]]
    """From where to where its files and their headers lie, in order."""
    first: bytes
    """The name of its first file."""
    json: Member | None
    is_split: bool
    """True if other files of its key are left behind, as in `KeptRow`."""


def raw_sample(data: memoryview, row: KeptRow, files: Mapping[str, Member]) -> RawSample:
    """Make a sample of these files, which are in order."""
    spans: list[tuple[int, int]] = []
    for member in files.values():
        begin = spans.pop()[0] if spans and spans[-1][1] == member.begin else member.begin
        spans.append((begin, member.end))
    first = next(iter(files.values())).name
    return RawSample(data, row.fields, spans, first, files.get("json"), row.is_split)


def find_files(tar: TarPiece, row: KeptRow, begin: int, shift: int) -> Mapping[str, Member]:
    """Find the files of a row's sample, by extension in lower case; none if its image isn't there.

    `begin` is a place in the piece where a sample begins, `shift` how much less places in the
    piece are than in the shard.
    """
    # The header of the next image, which is of another sample, needn't be looked at.
    for key, files in samples_from(tar, begin, row.end - shift - BLOCK):
        if key == row.key and any(m.data + shift == row.offset for m in files.values()):
            return files
    return {}


def samples_from(
    tar: TarPiece, begin: int = 0, stop: int | None = None
) -> Iterator[tuple[str, Mapping[str, Member]]]:
    """Yield keys and files of the samples that begin from one place to before another."""
    sample = ""
    files: dict[str, Member] = {}
    position, stop = begin, len(tar.data) if stop is None else stop
    while position < stop and (member := tar.next_file(position)) is not None:
        position = member.end
        parts = key_and_extension(member.name.decode("utf-8", "backslashreplace"))
        if parts is None:
            continue
        key, extension = parts
        if files and (key != sample or extension in files):
            yield sample, files
            files = {}
        sample = key
        files[extension] = member
    if files:
        yield sample, files
