"""A column of other Parquet files, joined to annotations by uid, by key, or by shard and key.

Suffix: _N is the number of rows.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from numpy.typing import NDArray

from shardsift.config import did_you_mean
from shardsift.curation.ordering import Hashes, combine, hash_strings
from shardsift.errors import InputError
from shardsift.redaction import reason
from shardsift.storage.files import ANNOTATION_SUFFIX, join, list_files, open_read

pc: Any = pyarrow.compute  # which makes its functions when it is imported

Codes = NDArray[np.int32]

UNMATCHED = "(not joined)"
_MOST_BUCKETS = 1 << 14


@dataclass(frozen=True, kw_only=True, slots=True)
class JoinedColumn:
    """What the column says of each key; the last of `names` is that of rows that aren't joined."""

    names: Sequence[str]
    keys: Sequence[str]
    hashes_N: Hashes
    places_N: Codes

    def codes(self, table: Any) -> Codes:
        """Give rows, a table with at least `keys`, their places in `names`."""
        codes_N = np.full(len(table), len(self.names) - 1, np.int32)
        is_known_N = _is_known(table, self.keys).to_numpy(zero_copy_only=False)
        wanted_N = _hash_keys(table.filter(pa.array(is_known_N)), self.keys)
        place_N = np.searchsorted(self.hashes_N, wanted_N)
        is_found_N = np.append(self.hashes_N, np.uint64(0))[place_N] == wanted_N
        is_found_N &= place_N < len(self.hashes_N)
        codes_N[np.flatnonzero(is_known_N)[is_found_N]] = self.places_N[place_N[is_found_N]]
        return codes_N


def check_number(what: str, buckets: int) -> None:
    """Refuse more buckets than there may be. Raises InputError."""
    if buckets > _MOST_BUCKETS:
        raise InputError(
            f"{what}: makes over {_MOST_BUCKETS:,} buckets; name one with fewer values"
        )


def read_column(column: str, url: str) -> JoinedColumn:
    """Read a column of buckets. Rows without a key or a value match nothing.

    Raises:
        InputError: if the file or folder at `url` can't be used.
    """
    keys, batches = _joined_batches(column, url)
    names: dict[str, int] = {}
    hashes: list[Hashes] = [np.empty(0, np.uint64)]
    places: list[Codes] = [np.empty(0, np.int32)]
    for batch in batches:
        known = batch.filter(_is_known(batch, [column, *keys]))
        hashes.append(_hash_keys(known, keys))
        values = known[column].cast(pa.string()).dictionary_encode()
        own = [names.setdefault(value, len(names)) for value in values.dictionary.to_pylist()]
        check_number(f"--per {column}", len(names))
        places.append(np.array(own, np.int32)[values.indices.to_numpy()])
    hashes_N, places_N = np.concatenate(hashes), np.concatenate(places)
    order_N = np.argsort(hashes_N, kind="stable")
    hashes_N, places_N = hashes_N[order_N], places_N[order_N]
    twice = (hashes_N[1:] == hashes_N[:-1]) & (places_N[1:] != places_N[:-1])
    if twice.any():
        raise InputError(
            f"{url}: says two things about {twice.sum():,} rows of equal {' and '.join(keys)}"
        )
    all_names = [*names, _unmatched(names)]
    return JoinedColumn(names=all_names, keys=keys, hashes_N=hashes_N, places_N=places_N)


def _unmatched(names: Container[str]) -> str:
    """Name the bucket of rows that aren't joined, which no value of the column may be."""
    name = UNMATCHED
    while name in names:
        name = f"({name})"
    return name


def _is_known(table: Any, columns: Iterable[str]) -> Any:
    """Tell which rows have a value in all of these columns."""
    return reduce(pc.and_, (pc.is_valid(table[column]) for column in columns))


def _joined_batches(column: str, url: str) -> tuple[list[str], Iterator[Any]]:
    """Yield the columns to join by, and what the files hold of them and of `column`."""
    is_file = url.endswith(ANNOTATION_SUFFIX)
    names = sorted(name for name in list_files(url) if name.endswith(ANNOTATION_SUFFIX))
    files = [url] if is_file else [join(url, name) for name in names]
    if not files:
        raise InputError(f"{url}: no {ANNOTATION_SUFFIX} file here")
    try:
        with open_read(files[0]) as file:
            schema = pq.read_schema(file)
        if column not in schema.names:
            hint = did_you_mean(column, schema.names, f"it has {', '.join(schema.names)}")
            raise InputError(f"{files[0]}: no column {column}; {hint}")
        choices = (["shard", "key"], ["uid"], ["key"])
        keys = next((keys for keys in choices if {*keys} <= {*schema.names}), None)
        if keys is None:
            raise InputError(f"{files[0]}: has neither uid nor key to join it by")
        if not any(_count_rows(file) for file in files):
            raise InputError(f"{url}: holds no rows")
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{url}: not Parquet: {reason(error)}") from error
    return keys, (batch for file in files for batch in _batches(file, column, keys))


def _batches(url: str, column: str, keys: Sequence[str]) -> Iterator[Any]:
    try:
        with open_read(url) as file:
            parquet = pq.ParquetFile(file)
            _check_types(url, parquet.schema_arrow, column, keys)
            yield from parquet.iter_batches(columns=[column, *keys])
    except (OSError, pa.ArrowException, ValueError, KeyError) as error:
        raise InputError(f"{url}: can't be joined: {reason(error)}") from error


def _check_types(url: str, schema: Any, column: str, keys: Sequence[str]) -> None:
    """Refuse keys that aren't text, as those of annotations are, and values that aren't plain."""
    for key in keys:
        kind = _plain(schema.field(key).type)
        if not _is_text(kind):
            raise InputError(
                f"{url}: {key} is {kind}, and in annotations it is text, such as "
                "'000000012'; write it as text to join it"
            )
    kind = _plain(schema.field(column).type)
    if pa.types.is_nested(kind) or not (_is_text(kind) or pa.types.is_primitive(kind)):
        raise InputError(
            f"{url}: {column} is {kind}, whose values make no buckets; name a column of "
            "text or numbers"
        )


def _plain(kind: Any) -> Any:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: Any) -> bool:
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(matches(kind) for matches in kinds)


def _count_rows(url: str) -> int:
    with open_read(url) as file:
        return pq.ParquetFile(file).metadata.num_rows


def _hash_keys(table: Any, keys: Sequence[str]) -> Hashes:
    first_N, *others = [hash_strings(table[key]) for key in keys]
    for other_N in others:
        first_N = combine(first_N, other_N)
    return first_N
