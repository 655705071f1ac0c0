"""Columns of other Parquet files, joined to annotations by what tells samples apart.

Suffix: _N is the number of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from shardsift.annotations.ordering import Hashes, combine, hash_strings, mix
from shardsift.config import did_you_mean
from shardsift.errors import InputError
from shardsift.redaction import reason
from shardsift.storage.files import ANNOTATION_SUFFIX, join, list_files, open_read

pc: Any = pyarrow.compute  # which makes its functions when it is imported

_KEYS = (["shard", "key"], ["uid"], ["key"], ["shard", "index"])
"""What may be joined by; the first that a file has. Other tools' `index` may be anything."""

_NUMBER = "index"
"""The key that is no text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JoinedColumn:
    """What a column says of each key, in the order of their hashes; text is a dictionary."""

    keys: Sequence[str]
    hashes_N: Hashes
    values_N: Any

    def look_up(self, table: Any) -> Any:
        """Return the values of rows, a table with at least `keys`; null if there is none."""
        is_known_N = _is_known(table, self.keys).to_numpy(zero_copy_only=False)
        place_N = np.zeros(len(table), np.int64)
        is_found_N = np.zeros(len(table), np.bool_)
        if len(self.hashes_N):
            wanted_N = _hash_keys(table.filter(pa.array(is_known_N)), self.keys)
            near_N = np.searchsorted(self.hashes_N, wanted_N).clip(max=len(self.hashes_N) - 1)
            place_N[is_known_N] = near_N
            is_found_N[is_known_N] = self.hashes_N[near_N] == wanted_N
        return self.values_N.take(pa.array(place_N, mask=~is_found_N))


class JoinedFiles:
    """A Parquet file, or a folder of them, with keys of samples.

    Attributes:
        schema: of its first file; the others have its columns, too, as far as they are asked for.
        keys: what it is joined by.
    """

    def __init__(self, url: str) -> None:
        """Look at the files. Raises InputError if they can't be joined."""
        self.url = url
        names = sorted(name for name in list_files(url) if name.endswith(ANNOTATION_SUFFIX))
        is_file = url.endswith(ANNOTATION_SUFFIX)
        self._files = [url] if is_file else [join(url, name) for name in names]
        if not self._files:
            raise InputError(f"{url}: no {ANNOTATION_SUFFIX} file here")
        try:
            with open_read(self._files[0]) as file:
                self.schema = pq.read_schema(file)
            if not any(_count_rows(file) for file in self._files):
                raise InputError(f"{url}: holds no rows")
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{url}: not Parquet: {reason(error)}") from error
        keys = next((keys for keys in _KEYS if {*keys} <= {*self.schema.names}), None)
        if keys is None:
            raise InputError(
                f"{self._files[0]}: has neither uid nor key to join it by, nor shard and index"
            )
        self.keys = keys

    def read(self, columns: Sequence[str]) -> dict[str, JoinedColumn]:
        """Read some columns. Rows without a key or a value match nothing.

        Raises:
            InputError: if there is none of such a name, or it can't be joined.
        """
        for column in columns:
            if column not in self.schema.names:
                known = self.schema.names
                hint = did_you_mean(column, known, f"it has {', '.join(known)}")
                raise InputError(f"{self._files[0]}: no column {column}; {hint}")
        hashes: dict[str, list[Hashes]] = {column: [] for column in columns}
        values: dict[str, list[Any]] = {column: [] for column in columns}
        for batch in (batch for file in self._files for batch in self._batches(file, columns)):
            for column in columns:
                known = batch.filter(_is_known(batch, [column, *self.keys]))
                hashes[column].append(_hash_keys(known, self.keys))
                values[column].append(_compact(known[column]))
        return {column: self._sort(hashes[column], values[column]) for column in columns}

    def _sort(self, hashes: Sequence[Hashes], values: Sequence[Any]) -> JoinedColumn:
        hashes_N = np.concatenate(hashes)
        order_N = np.argsort(hashes_N, kind="stable")
        hashes_N = hashes_N[order_N]
        whole = pa.chunked_array(values).unify_dictionaries().combine_chunks()
        values_N = whole.take(pa.array(order_N))
        again_N = np.flatnonzero(hashes_N[1:] == hashes_N[:-1])
        if differ := _count_different(values_N.take(again_N), values_N.take(again_N + 1)):
            raise InputError(
                f"{self.url}: says two things about {differ:,} rows of equal "
                f"{' and '.join(self.keys)}"
            )
        return JoinedColumn(keys=self.keys, hashes_N=hashes_N, values_N=values_N)

    def _batches(self, url: str, columns: Sequence[str]) -> Iterator[Any]:
        try:
            with open_read(url) as file:
                parquet = pq.ParquetFile(file)
                self._check_types(url, parquet.schema_arrow, columns)
                yield from parquet.iter_batches(columns=[*dict.fromkeys([*columns, *self.keys])])
        except (OSError, pa.ArrowException, ValueError, KeyError) as error:
            raise InputError(f"{url}: can't be joined: {reason(error)}") from error

    def _check_types(self, url: str, schema: Any, columns: Sequence[str]) -> None:
        """Refuse keys of another type than annotations have, and values that aren't plain.

        Raises InputError, and KeyError if there is no such column.
        """
        for key in self.keys:
            kind = plain(schema.field(key).type)
            if key == _NUMBER and not pa.types.is_integer(kind):
                raise InputError(f"{url}: {key} is {kind}, and in annotations a whole number")
            if key != _NUMBER and not is_text(kind):
                raise InputError(
                    f"{url}: {key} is {kind}, and in annotations it is text, such as "
                    "'000000012'; write it as text to join it"
                )
        for column in columns:
            kind = plain(schema.field(column).type)
            if pa.types.is_nested(kind) or not (is_text(kind) or pa.types.is_primitive(kind)):
                raise InputError(
                    f"{url}: {column} is {kind}, whose values can't be joined; name a column of "
                    "text or numbers"
                )
            if kind != plain(self.schema.field(column).type):
                first = f"{plain(self.schema.field(column).type)} in {self._files[0]}"
                raise InputError(f"{url}: {column} is {kind}, and {first}; write it as one type")


def plain(kind: Any) -> Any:
    """Return the type of values, of a dictionary's too."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def is_text(kind: Any) -> bool:
    """Tell a type of strings."""
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(matches(kind) for matches in kinds)


def _compact(values: Any) -> Any:
    """Let text take little memory."""
    kind = plain(values.type)
    if is_text(kind):
        return values.cast(pa.string()).dictionary_encode()
    return values.cast(pa.float32() if pa.types.is_float16(kind) else kind)


def _count_different(left: Any, right: Any) -> int:
    """Count the pairs that differ; NaN is like NaN."""
    if pa.types.is_dictionary(left.type):
        left, right = left.indices, right.indices
    differs = pc.not_equal(left, right)
    if pa.types.is_floating(left.type):
        are_nan = pc.and_(pc.is_nan(left), pc.is_nan(right))
        differs = pc.and_(differs, pc.invert(are_nan))
    return pc.sum(differs).as_py() or 0


def _is_known(table: Any, columns: Iterable[str]) -> Any:
    """Tell which rows have a value in all of these columns."""
    return reduce(pc.and_, (pc.is_valid(table[column]) for column in columns))


def _count_rows(url: str) -> int:
    with open_read(url) as file:
        return pq.ParquetFile(file).metadata.num_rows


def _mix_numbers(column: Any) -> Hashes:
    return mix(column.to_numpy().astype(np.uint64))


def _hash_keys(table: Any, keys: Sequence[str]) -> Hashes:
    first_N, *others = [
        _mix_numbers(table[key]) if key == _NUMBER else hash_strings(table[key]) for key in keys
    ]
    for other_N in others:
        first_N = combine(first_N, other_N)
    return first_N
