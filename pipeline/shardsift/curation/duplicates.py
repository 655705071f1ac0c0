"""Of each group of rows that have one value in a column, all but the best.

Suffixes: _N rows, _N2 two numbers a row.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shardsift.annotations.ordering import Hashes, hash_strings, mix
from shardsift.annotations.survey import Part
from shardsift.curation.columns import Columns
from shardsift.curation.joined import is_text, plain
from shardsift.curation.scratch import Rows, Scratch
from shardsift.curation.selection import Keys
from shardsift.errors import ConfigError, InputError
from shardsift.threads import Track, map_ordered

_ROWS_A_FILE = 1 << 20
_FEWEST_FILES = 64
_MOST_FILES = 4096
_THREADS = 2  # each sorts a file

_OTHER_SEED = 0x5851_F42D_4C95_7F2D
"""Of a second hash: that two strings of a corpus share both is beyond chance."""


@dataclass(frozen=True, slots=True)
class Grouped:
    """Rows of one file: their groups, two numbers each; their keys; and their indices."""

    groups_N2: Rows
    keys: Keys
    index_N: NDArray[np.int32]


class GroupColumn:
    """The column whose values make groups. Rows without a value are in none."""

    def __init__(self, name: str, columns: Columns) -> None:
        """Find the column. Raises ConfigError if there is none, or its values make no groups."""
        kind = plain(columns.find("unique", name).type)
        self.name = name
        self._is_binary = pa.types.is_fixed_size_binary(kind)
        self._is_number = pa.types.is_integer(kind)
        if not (self._is_binary or self._is_number or is_text(kind)):
            raise ConfigError(f"--unique {name}: is {kind}; name a column of text, or of integers")

    def groups(self, table: Any) -> Rows:
        """Tell the groups of rows that have a value, shape (N, 2): equal ones for equal values."""
        column = table[self.name]
        if self._is_number:
            values_N: NDArray[Any] = column.to_numpy()
            first_N = mix(values_N.astype(np.uint64))  # one to one
            return np.stack([first_N, np.zeros_like(first_N)], axis=1)
        if self._is_binary:
            data = b"".join(column.to_pylist())
            return np.frombuffer(data, np.uint64).reshape(len(column), -1)[:, :2]
        return np.stack([hash_strings(column), hash_strings(column, _OTHER_SEED)], axis=1)


class Duplicates:
    """The rows that are not the best of their group."""

    def __init__(self, parts: Sequence[Part], scratch: Scratch) -> None:
        """Begin with none; a byte a row lies in the folder of a scratch."""
        ends = list(accumulate((part.rows for part in parts), initial=0))
        self._first = {part.name: first for part, first in zip(parts, ends, strict=False)}
        self._is_one_N = np.memmap(scratch.path / "duplicates", np.bool_, "w+", shape=ends[-1] or 1)

    def numbers(self, part: Part, index_N: NDArray[np.int32]) -> Hashes:
        """Give rows of a file their numbers among those of all files."""
        return index_N.astype(np.uint64) + np.uint64(self._first[part.name])

    def add(self, numbers_N: Hashes) -> None:
        """Take in further ones."""
        self._is_one_N[numbers_N] = True

    def among(self, part: Part, index_N: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Tell which rows of a file are some of them."""
        return self._is_one_N[self.numbers(part, index_N)]


@contextmanager
def finding_duplicates(
    read: Callable[[Part], Grouped], parts: Sequence[Part], column: str, track: Track, threads: int
) -> Generator[Duplicates]:
    """Find them in one pass, through scratch files: 40 bytes a row that has a value.

    Raises:
        InputError: if no row has one.
    """
    files = max(_FEWEST_FILES, sum(part.rows for part in parts) // _ROWS_A_FILE)
    files = min(_MOST_FILES, 1 << (files - 1).bit_length())
    with Scratch(5, files) as scratch:
        duplicates = Duplicates(parts, scratch)
        passing = map_ordered(read, parts, threads)
        for part, rows in zip(parts, track(passing, "grouping", len(parts)), strict=True):
            number_N = duplicates.numbers(part, rows.index_N)
            columns = [rows.keys.rank_N, rows.keys.tie_N, number_N]
            scratch.add(np.column_stack([rows.groups_N2, *columns]))
        if not scratch.added:
            raise InputError(
                f"--unique {column}: no row that could be kept has one; {_hint(column)}"
            )
        sorting = map_ordered(_all_but_the_best, scratch.read_all(), _THREADS)
        for worse_N in track(sorting, "comparing", files):
            duplicates.add(worse_N)
        yield duplicates


def _all_but_the_best(rows_N5: Rows) -> Hashes:
    """Return the numbers of rows that are not the best of their group."""
    rows_N5 = rows_N5[np.argsort(rows_N5[:, 0])]
    is_again_N = rows_N5[1:, 0] == rows_N5[:-1, 0]
    has_company_N = np.zeros(len(rows_N5), np.bool_)
    has_company_N[1:] = is_again_N
    has_company_N[:-1] |= is_again_N
    some_N5 = rows_N5[has_company_N]
    second_N, rank_N, tie_N, number_N = some_N5[:, 1:].T
    some_N5 = some_N5[np.lexsort((number_N, tie_N, rank_N, second_N, some_N5[:, 0]))]
    is_group_s_N = (some_N5[1:, :2] == some_N5[:-1, :2]).all(axis=1)
    return some_N5[:-1][is_group_s_N, 4]


def _hint(column: str) -> str:
    if column in ("phash", "sha256"):
        return f"score with --hashes {column}"
    return "name another column"
