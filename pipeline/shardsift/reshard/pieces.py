"""The bytes of kept samples, in pieces of memory.

Samples that are close to each other in the shard are read in one go; those of many such ranges
stand one behind the other in a piece.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from shardsift.reshard.rows import KeptRow
from shardsift.storage.ranges import Ranges
from shardsift.threads import map_ordered

PIECE_BYTES = 8 << 20
"""A piece is as large at most, unless one sample is larger."""

ANNOUNCED_BYTES = 32 << 20
"""How far ahead the disk is told what will be read."""


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
    """Group ranges into pieces of at most so many."""
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
