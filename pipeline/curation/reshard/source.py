"""The kept samples of a source shard, as they lie in its tar.

Annotations know where each image lies; the other files of its sample stand beside it. So a sample
lies between the end of the image before it and the beginning of the image behind it: such ranges
are read, those that are close to each other in one piece, and the headers in them tell the rest.
Where an image has no place (in a gzip'd tar, or where the sample has none) the shard is unpacked
into a scratch file and read from its beginning.

Suffixes: _R rows of a shard, _N those of them that are kept.
"""

from __future__ import annotations

import mmap
import shutil
import tempfile
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from tarfile import TarError
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from pipeline.curation.reshard.headers import BLOCK, Member, Piece, next_file
from pipeline.errors import ShardError
from pipeline.overlap import map_ordered
from pipeline.ranges import Ranges, open_ranges
from pipeline.redaction import reason
from pipeline.shards import key_and_extension, unpacked
from pipeline.storage import open_read

pc: Any = pyarrow.compute  # which makes its functions when it is imported

PIECE_BYTES = 8 << 20
"""A piece is as large at most, unless one sample is larger."""

ANNOUNCED_BYTES = 32 << 20
"""So far ahead the disk is told."""

CUES = ("quality", "q_sim", "q_mag")
"""Columns that are merged into the `.json` of a sample."""


@dataclass(slots=True)
class KeptRow:
    """A sample to copy: its place in the shard, and what is merged into its `.json`.

    `offset` is where its image lies; the sample lies between `begin` and `end`, which is behind
    the headers of the next image. `cues` are `"quality": 0.71, …`, as in JSON.
    """

    index: int
    key: str
    offset: int | None
    begin: int
    end: int
    cues: str


class RawSample(NamedTuple):
    """A kept sample: its files in a piece of a tar, in the tar's order."""

    row: KeptRow
    piece: Piece
    files: Mapping[str, Member]
    """Where they lie, by extension in lower case."""


def kept_rows(table: Any, kept_N: NDArray[np.int32], size: int) -> list[KeptRow]:
    """Rows with the indices `kept_N`, of a table of all annotations of a shard of `size` bytes."""
    offset_R, length_R = (
        pc.fill_null(table[name], -1).to_numpy().astype(np.int64)
        for name in ("tar_offset", "tar_size")
    )
    has_end_R = (offset_R >= 0) & (length_R >= 0)
    end_R = np.where(has_end_R, offset_R + -(-length_R // BLOCK) * BLOCK, -1)
    following_R = np.minimum.accumulate(np.where(offset_R < 0, size, offset_R)[::-1])[::-1]
    keys = table["key"].to_numpy()
    before_N = np.where(kept_N > 0, end_R[kept_N - 1], 0)
    is_hidden_N = (kept_N > 0) & ((before_N < 0) | (keys[kept_N - 1] == keys[kept_N]))
    begin_N = np.where(is_hidden_N, 0, before_N)
    for place in np.flatnonzero(is_hidden_N & (offset_R[kept_N] >= 0)):
        begin_N[place] = _end_before(int(kept_N[place]), keys, end_R)
    columns = (
        kept_N.tolist(),
        keys[kept_N].tolist(),
        [None if offset < 0 else offset for offset in offset_R[kept_N].tolist()],
        begin_N.tolist(),
        np.append(following_R, size)[kept_N + 1].tolist(),
        _cues(table.select(CUES).take(kept_N)),
    )
    return [KeptRow(*values) for values in zip(*columns, strict=True)]


def _end_before(index: int, keys: NDArray[np.object_], end_R: NDArray[np.int64]) -> int:
    """Where the last image before a sample ends that has a place, and another key."""
    before = index - 1
    while before >= 0 and (end_R[before] < 0 or keys[before] == keys[index]):
        before -= 1
    return int(end_R[before]) if before >= 0 else 0


def _cues(table: Any) -> Sequence[str]:
    """Each row's cues as JSON spells them, with as few digits as a float32 needs."""
    pairs = (
        pc.binary_join_element_wise(
            f'"{name}": ', pc.fill_null(table[name].cast(pa.string()), "null"), ""
        )
        for name in CUES
    )
    return pc.binary_join_element_wise(*pairs, ", ").to_pylist()


def read_kept(url: str, shard: str, rows: Sequence[KeptRow]) -> Iterator[RawSample]:
    """The samples of these rows, in order.

    Raises:
        ShardError: where the tar can't be read, or isn't what was scored.
    """
    has_places = all(row.offset is not None for row in rows)
    try:
        with open_ranges(url) as ranges:
            if has_places and ranges:
                yield from _by_range(ranges, shard, rows)
            else:
                yield from _front_to_back(url, shard, rows)
    except (OSError, EOFError, zlib.error, TarError, ValueError) as error:
        raise ShardError(shard, f"can't be read: {reason(error)}") from error


def _by_range(ranges: Ranges, shard: str, rows: Sequence[KeptRow]) -> Iterator[RawSample]:
    def read(part: Sequence[KeptRow]) -> tuple[Sequence[KeptRow], bytes]:
        begin, end = part[0].begin, part[-1].end
        piece = ranges.read(begin, end - begin)
        if len(piece) != end - begin:
            raise EOFError(f"gives {len(piece)} bytes for {end - begin} at byte {begin}")
        return part, piece

    parts = _announced(_close_together(rows, ranges.gap), ranges)
    in_turn = ranges.threads == 1
    pieces = map(read, parts) if in_turn else map_ordered(read, parts, ranges.threads)
    for part, piece in pieces:
        base, done = part[0].begin, 0
        for row in part:
            files = _find(piece, row, base, max(done, row.begin - base))
            if not files:
                raise ShardError(shard, f"{row.key} isn't where it was when the shard was scored")
            done = _end(files)
            if done > len(piece):
                raise EOFError(f"ends in the middle of {row.key}")
            yield RawSample(row, piece, files)


def _close_together(rows: Sequence[KeptRow], gap: int) -> Iterator[Sequence[KeptRow]]:
    """Rows whose samples are read in one piece."""
    begin = 0
    for place in range(1, len(rows)):
        is_far = rows[place].begin - rows[place - 1].end > gap
        if is_far or rows[place].end - rows[begin].begin > PIECE_BYTES:
            yield rows[begin:place]
            begin = place
    if rows:
        yield rows[begin:]


def _announced(parts: Iterable[Sequence[KeptRow]], ranges: Ranges) -> Iterator[Sequence[KeptRow]]:
    """The parts, a while after they were announced."""
    waiting: deque[Sequence[KeptRow]] = deque()
    ahead = 0
    for part in parts:
        ranges.announce(part[0].begin, part[-1].end - part[0].begin)
        waiting.append(part)
        ahead += part[-1].end - part[0].begin
        while ahead > ANNOUNCED_BYTES:
            first = waiting.popleft()
            ahead -= first[-1].end - first[0].begin
            yield first
    yield from waiting


def _find(piece: Piece, row: KeptRow, base: int, begin: int) -> Mapping[str, Member]:
    """The files of a row's sample: of those of its key the ones beside its image."""
    files: dict[str, Member] = {}
    has_image = False
    # The header of the next image, which is of another sample, needn't be looked at.
    last = row.end - base - BLOCK
    while begin < last and (member := next_file(piece, begin)) is not None:
        begin = member.end
        name = _decoded(member)
        if not files and not name.startswith(row.key):
            continue
        parts = key_and_extension(name)
        if parts is None:
            continue
        key, extension = parts
        if key != row.key or extension in files:
            if has_image:
                break
            files = {}
        if key == row.key:
            files[extension] = member
            has_image = has_image or member.data + base == row.offset
    return files if has_image else {}


def _decoded(member: Member) -> str:
    return member.name.decode("utf-8", "backslashreplace")


def _end(files: Mapping[str, Member]) -> int:
    return max(member.end for member in files.values())


def _front_to_back(url: str, shard: str, rows: Sequence[KeptRow]) -> Iterator[RawSample]:
    with tempfile.TemporaryFile(prefix="shardsift-") as scratch:
        with open_read(url) as file:
            shutil.copyfileobj(unpacked(file), scratch, 1 << 20)
        scratch.flush()
        # Not closed by hand: samples that were given out may still be looked at.
        piece = mmap.mmap(scratch.fileno(), 0, access=mmap.ACCESS_READ)
    samples = enumerate(_all_samples(piece))
    for row in rows:
        sample = next((sample for index, sample in samples if index == row.index), None)
        if sample is None or sample[0] != row.key:
            found = "nothing" if sample is None else sample[0]
            raise ShardError(shard, f"sample {row.index} was {row.key}, and is {found} now")
        files = sample[1]
        if _end(files) > len(piece):
            raise EOFError(f"ends in the middle of {row.key}")
        yield RawSample(row, piece, files)


def _all_samples(piece: Piece) -> Iterator[tuple[str, Mapping[str, Member]]]:
    """Keys and files of all samples; samples are those of `shards`."""
    sample = ""
    files: dict[str, Member] = {}
    position = 0
    while (member := next_file(piece, position)) is not None:
        position = member.end
        parts = key_and_extension(_decoded(member))
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
