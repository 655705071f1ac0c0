"""The columns that a filter may name: those of annotations, and those that are joined to them.

Annotations' own come first: of a column that both have, theirs is meant.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from shardsift.annotations.ordering import LAST, Ranks, rank, unrank
from shardsift.annotations.parquet import schema_of
from shardsift.config import Extras, did_you_mean
from shardsift.curation.joined import JoinedColumn, JoinedFiles, plain
from shardsift.errors import ConfigError

pc: Any = pyarrow.compute  # which makes its functions when it is imported


class Columns:
    """All of them by name, and the joined ones that were loaded."""

    def __init__(self, extras: Extras, joined: JoinedFiles | None) -> None:
        """Take annotations with these extras; nothing is loaded yet."""
        self._own = schema_of(extras)
        self._files = joined
        others = [  # in SQL small and capital letters are alike
            field
            for field in (joined.schema if joined else [])
            if field.name.lower() not in self._own.names
        ]
        self.schema = pa.schema([*self._own, *others])
        self._loaded: Mapping[str, JoinedColumn] = {}

    def find(self, flag: str, name: str) -> Any:
        """Return the field of a column. Raises ConfigError if there is none."""
        names = self.schema.names
        if name not in names:
            hint = did_you_mean(name, names, f"there are {', '.join(names)}")
            other = "" if self._files else ", and --join names a Parquet file with further ones"
            raise ConfigError(f"--{flag} {name}: no such column; {hint}{other}")
        return self.schema.field(name)

    def joined(self, names: Iterable[str]) -> set[str]:
        """Pick those that are joined."""
        return {*names} - {*self._own.names}

    def load(self, joined: Mapping[str, JoinedColumn]) -> None:
        """Take in what was read of them."""
        self._loaded = joined

    def to_read(self, names: Collection[str]) -> list[str]:
        """Name what has to be read of annotations to know these columns."""
        own = {name for name in names if name not in self._loaded}
        if own != {*names}:
            assert self._files, "some were loaded"
            own |= {*self._files.keys}
        return sorted(own)

    def complete(self, table: Any, names: Iterable[str]) -> Any:
        """Append those that are joined."""
        for name in sorted({*names} & self._loaded.keys()):
            table = table.append_column(name, self._loaded[name].look_up(table))
        return table


class Ranking:
    """The column that decides which rows are better: a higher value is."""

    def __init__(self, column: str, columns: Columns) -> None:
        """Find the column. Raises ConfigError if there is none, or not one of numbers."""
        kind = plain(columns.find("by", column).type)
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise ConfigError(f"--by {column}: is {kind}; name a column of numbers")
        self.column = column
        self._dtype = np.dtype(kind.to_pandas_dtype())

    @property
    def bits(self) -> int:
        """The upper ones of a rank, in which ranks differ."""
        return 8 * self._dtype.itemsize

    def has_value(self, table: Any) -> NDArray[np.bool_]:
        """Tell which rows have a number."""
        values = table[self.column]
        is_valid = pc.is_valid(values)
        if self._dtype.kind == "f":
            is_valid = pc.and_(is_valid, pc.invert(pc.fill_null(pc.is_nan(values), True)))
        return is_valid.to_numpy(zero_copy_only=False)

    def ranks(self, table: Any) -> Ranks:
        """Rank rows that have a number."""
        return rank(table[self.column].to_numpy().astype(self._dtype, copy=False))

    def rank_of(self, least: float) -> int:
        """Return the rank of the lowest value that is at or above `least`."""
        if self._dtype.kind == "f":
            return int(rank(np.array([least], self._dtype))[0])
        limits = np.iinfo(self._dtype)
        if least > limits.max:
            return LAST
        lowest = max(limits.min, int(np.ceil(least)))
        return int(rank(np.array([lowest], self._dtype))[0])

    def value_of(self, ranks: Ranks) -> list[float | int | None]:
        """Return the values that have these ranks, in the fewest digits; None for none."""
        values = unrank(ranks, self._dtype)
        return [
            None if place == LAST else self._shortest(value)
            for place, value in zip(ranks, values, strict=True)
        ]

    def _shortest(self, value: Any) -> float | int:
        return int(value) if self._dtype.kind in "iu" else float(str(value))
