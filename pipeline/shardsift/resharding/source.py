"""The kept samples of a source shard: where they lie, and their bytes.

If each image has a place, samples are read by byte range; else (in a gzip'd tar, or if a
sample has no image) the shard is read from its beginning, and only the sample at hand is held.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from tarfile import TarError
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute
from numpy.typing import NDArray

from shardsift.errors import ErrorCode, ShardError
from shardsift.outputs.json_rows import fields_of
from shardsift.redaction import reason
from shardsift.shards.tar_samples import key_and_extension
from shardsift.shards.tars import BLOCK, Member, members_in, padded, read_members
from shardsift.storage.files import Ranges, open_ranges, open_stream
from shardsift.threads import map_ordered

pc: Any = pyarrow.compute  # its functions are made at import, unseen by type checkers

PLACES = ("key", "tar_offset", "tar_size", "error", "image_ext", "sha256")
"""Columns with places of samples, errors, and hashes of images."""


@dataclass(slots=True)
class KeptRow:
    """A sample to copy: its place in the shard, and fields for its `.json`.

    `offset` is the place of its image; the sample is between `begin` and `end`, which is after the
    headers of the next image. `fields` are `"quality": 0.71, …`, as in JSON. `is_split` is true if
    other files of its key are elsewhere in the shard, and not copied. `sha256` is the hash of the
    file with the extension `image`, None without one.
    """

    index: int
    key: str
    offset: int | None
    begin: int
    end: int
    fields: str
    is_split: bool = False
    image: str | None = None
    sha256: bytes | None = None


def kept_rows(
    table: Any, kept_N: NDArray[np.int32], size: int, columns: Sequence[str] = ()
) -> list[KeptRow]:
    """Make the rows of the indices `kept_N`, from all annotations of a shard of `size` bytes.

    `columns` are those of their fields.
    """
    offset_R, length_R = (
        pc.fill_null(table[name], -1).to_numpy().astype(np.int64)
        for name in ("tar_offset", "tar_size")
    )
    has_end_R = (offset_R >= 0) & (length_R >= 0)
    end_R = np.where(has_end_R, offset_R + padded(length_R), -1)
    following_R = np.minimum.accumulate(np.where(offset_R < 0, size, offset_R)[::-1])[::-1]
    keys = table["key"].to_numpy()
    before_N = np.where(kept_N > 0, end_R[kept_N - 1], 0)
    is_hidden_N = (kept_N > 0) & ((before_N < 0) | (keys[kept_N - 1] == keys[kept_N]))
    begin_N = np.where(is_hidden_N, 0, before_N)
    for place in np.flatnonzero(is_hidden_N & (offset_R[kept_N] >= 0)):
        index = int(kept_N[place])
        before = index - 1
        while before >= 0 and (end_R[before] < 0 or keys[before] == keys[index]):
            before -= 1
        begin_N[place] = int(end_R[before]) if before >= 0 else 0
    is_left_R = pc.equal(table["error"], ErrorCode.MISSING_IMAGE).fill_null(False).to_numpy().copy()
    is_left_R[kept_N] = False
    left = set(keys[is_left_R].tolist())
    values = (
        kept_N.tolist(),
        keys[kept_N].tolist(),
        [None if offset < 0 else offset for offset in offset_R[kept_N].tolist()],
        begin_N.tolist(),
        np.append(following_R, size)[kept_N + 1].tolist(),
        fields_of(table.select(columns).take(kept_N)) if columns else [""] * len(kept_N),
        [key in left for key in keys[kept_N].tolist()],
        *(table[name].take(kept_N).to_pylist() for name in ("image_ext", "sha256")),
    )
    return [KeptRow(*row) for row in zip(*values, strict=True)]


PIECE_BYTES = 8 << 20
"""A piece is as large at most, unless one sample is larger."""

ANNOUNCED_BYTES = 32 << 20
"""Bytes that are announced to the disk before they are read."""


class Piece(NamedTuple):
    """Bytes of a shard. Each row's are in one stretch, at `shift` less than in the shard."""

    data: memoryview
    rows: Sequence[tuple[KeptRow, int]]
    """Rows, and their shifts."""


class _Range(NamedTuple):
    """Samples that are read in one go."""

    begin: int
    end: int
    rows: Sequence[KeptRow]

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self.end - self.begin


def read_pieces(ranges: Ranges, rows: Sequence[KeptRow]) -> Iterator[Piece]:
    """Read the bytes of all rows, in order. Raises OSError, or EOFError for a shorter shard."""
    planned = _announced(_planned(_close_together(rows, ranges.gap), ranges.in_piece), ranges)
    if ranges.threads == 1:
        return (_read(ranges, parts) for parts in planned)
    return map_ordered(lambda parts: _read(ranges, parts), planned, ranges.threads)


def _close_together(rows: Sequence[KeptRow], gap: int) -> Iterator[_Range]:
    first = 0
    for place in range(1, len(rows) + 1):
        begin, end = rows[first].begin, rows[place - 1].end
        if (
            place == len(rows)
            or rows[place].begin - end > gap
            or rows[place].end - begin > PIECE_BYTES
        ):
            yield _Range(begin, end, rows[first:place])
            first = place


def _planned(parts: Iterable[_Range], most: int) -> Iterator[Sequence[_Range]]:
    """Group ranges into pieces of limited size."""
    planned: list[_Range] = []
    size = 0
    for part in parts:
        size += part.size
        if planned and (size > PIECE_BYTES or len(planned) == most):
            yield planned
            planned, size = [], part.size
        planned.append(part)
    if planned:
        yield planned


def _announced(pieces: Iterable[Sequence[_Range]], ranges: Ranges) -> Iterator[Sequence[_Range]]:
    """Announce the pieces to the disk, and pass each on a while later."""
    waiting: deque[Sequence[_Range]] = deque()
    ahead = 0
    for parts in pieces:
        for part in parts:
            ranges.announce(part.begin, part.size)
            ahead += part.size
        waiting.append(parts)
        while ahead > ANNOUNCED_BYTES:
            first = waiting.popleft()
            ahead -= sum(part.size for part in first)
            yield first
    yield from waiting


def _read(ranges: Ranges, parts: Sequence[_Range]) -> Piece:
    data = np.empty(sum(part.size for part in parts), np.uint8).data
    rows: list[tuple[KeptRow, int]] = []
    place = 0
    for part in parts:
        read = ranges.read_into(part.begin, data[place : place + part.size])
        if read != part.size:
            raise EOFError(f"gives {read} bytes for {part.size} at byte {part.begin}")
        rows += [(row, part.begin - place) for row in part.rows]
        place += part.size
    return Piece(data, rows)


class RawSample(NamedTuple):
    """A kept sample in a piece of a tar."""

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
    first = next(iter(files.values())).raw_name
    return RawSample(data, row.fields, spans, first, files.get("json"), row.is_split)


def find_files(piece: BytesIO, row: KeptRow, begin: int, shift: int) -> Mapping[str, Member]:
    """Find the files of a row's sample, by extension in lower case; none if its image is missing.

    `begin` is the place of a sample's beginning in the piece; `shift` is the place of the piece in
    the shard.
    """
    # The next image belongs to another sample; its header isn't needed.
    for key, files in by_key(members_in(piece, begin, row.end - shift - BLOCK)):
        if key == row.key and any(m.data + shift == row.offset for m in files.values()):
            return files
    return {}


def by_key(members: Iterable[Member]) -> Iterator[tuple[str, Mapping[str, Member]]]:
    """Yield keys and files of samples, as they are scored."""
    sample = ""
    files: dict[str, Member] = {}
    for member in members:
        parts = key_and_extension(member.name)
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


_MOST_SAMPLE_BYTES = 1 << 30
"""A gzip'd tar of a megabyte can promise a gigabyte, which the new tar would hold."""


def read_kept(url: str, shard: str, rows: Sequence[KeptRow]) -> Iterator[RawSample]:
    """Yield the samples of these rows, in order.

    Raises:
        ShardError: if the tar can't be read, or has changed since it was scored.
    """
    has_places = all(row.offset is not None for row in rows)
    try:
        with open_ranges(url) as ranges:
            if has_places and ranges:
                for piece in read_pieces(ranges, rows):
                    yield from _samples_in(piece, shard)
            else:
                yield from _front_to_back(url, shard, rows)
    except (OSError, EOFError, zlib.error, TarError, ValueError) as error:
        raise ShardError(shard, f"can't be read: {reason(error)}") from error


def _samples_in(piece: Piece, shard: str) -> Iterator[RawSample]:
    tar = BytesIO(piece.data)
    done, done_shift = 0, -1
    for row, shift in piece.rows:
        begin = row.begin - shift
        if shift == done_shift:  # read together with the sample before
            begin = max(begin, done)
        files = find_files(tar, row, begin, shift)
        if not files:
            raise ShardError(shard, f"{row.key} isn't where it was when the shard was scored")
        sample = raw_sample(piece.data, row, files)
        _check_image(piece.data, row, files, shard)
        done, done_shift = sample.spans[-1][1], shift
        if done > row.end - shift:
            raise EOFError(f"ends in the middle of {row.key}")
        yield sample


def _front_to_back(url: str, shard: str, rows: Sequence[KeptRow]) -> Iterator[RawSample]:
    with open_stream(url) as file:
        samples = _unpack(read_members(file, Counter()), {row.index for row in rows})
        for row in rows:
            found = next((sample for sample in samples if sample.index == row.index), None)
            if found is None or found.key != row.key:
                key = "nothing" if found is None else found.key
                raise ShardError(shard, f"sample {row.index} was {row.key}, and is {key} now")
            data = memoryview(found.data)
            _check_image(data, row, found.files, shard)
            yield raw_sample(data, row, found.files)


def check_picture(picture: Any, sha256: bytes | None, name: str, shard: str) -> None:
    """Raise ShardError if the hash of an image's bytes differs from the annotation's."""
    if sha256 is not None and hashlib.sha256(picture).digest() != sha256:
        problem = f"the image of {name} has another sha256 than when the shard was scored"
        raise ShardError(shard, f"{problem}; score it again, and filter again")


def _check_image(data: memoryview, row: KeptRow, files: Mapping[str, Member], shard: str) -> None:
    image = files.get(row.image or "")
    if image is not None and image.is_plain:
        picture = data[image.data : image.data + image.size]
        check_picture(picture, row.sha256, row.key, shard)


@dataclass(frozen=True, slots=True)
class _Unpacked:
    """A sample of a stream: its bytes, if it is wanted, and where in them its files lie."""

    index: int
    key: str
    data: bytearray
    files: dict[str, Member]


def _unpack(members: Iterable[Member], wanted: Collection[int]) -> Iterator[_Unpacked]:
    """Yield all samples of a tar; of those that aren't wanted nothing is held.

    Raises TarError or ValueError.
    """
    sample = _Unpacked(-1, "", bytearray(), {})
    for member in members:
        parts = key_and_extension(member.name)
        if parts is None:
            continue
        key, extension = parts
        if not sample.files or key != sample.key or extension in sample.files:
            if sample.files:
                yield sample
            sample = _Unpacked(sample.index + 1, key, bytearray(), {})
        sample.files[extension] = member
        if sample.index in wanted:
            begin, data = len(sample.data), len(sample.data) + len(member.headers)
            end = data + member.end - member.data
            if end > _MOST_SAMPLE_BYTES:
                most = _MOST_SAMPLE_BYTES >> 20
                raise ValueError(f"{key} has over {most:,} MiB when it is unpacked")
            sample.data.extend(member.headers + member.read_blocks())
            sample.files[extension] = member._replace(begin=begin, data=data, end=end)
    if sample.files:
        yield sample
