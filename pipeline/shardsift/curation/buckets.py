"""Which bucket a row belongs to: all buckets are known before the first row is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from shardsift.annotations.survey import Part
from shardsift.config import nearest
from shardsift.curation.filter_config import MEGAPIXELS, PREFIX
from shardsift.curation.ordering import Hashes, combine, hash_strings
from shardsift.errors import InputError
from shardsift.shards.plan import shard_prefixes
from shardsift.storage.files import ANNOTATION_SUFFIX, join, list_files, open_read
from shardsift.storage.redaction import reason, redact

Codes = NDArray[np.int32]

UNMATCHED = "(not joined)"
_MAX_BUCKETS = 1 << 14
_MEGAPIXELS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Buckets:
    """`codes` gives rows of a shard, a table with at least `columns`, their places in `names`."""

    names: Sequence[str]
    columns: Sequence[str]
    codes: Callable[[Part, Any], Codes]


def make_buckets(per: str | None, joined: str | None, parts: Sequence[Part]) -> Buckets:
    """Make the buckets of `--per`, a single one without it.

    Raises:
        InputError: if the Parquet file to join can't be used.
    """
    if per is None:
        return Buckets(
            names=["all"], columns=[], codes=lambda part, table: np.zeros(len(table), np.int32)
        )
    if joined is not None:
        return _by_join(per, joined)
    if per == PREFIX:
        return _by_prefix(parts)
    if per == MEGAPIXELS:
        return _by_megapixels()
    guess = nearest(per, {PREFIX, MEGAPIXELS})
    hint = f"did you mean {guess}?" if guess else "name the Parquet file that has it with --join"
    raise InputError(f"--per {per}: neither {PREFIX} nor {MEGAPIXELS}; {hint}")


def _by_prefix(parts: Sequence[Part]) -> Buckets:
    prefixes = shard_prefixes(part.shard for part in parts)
    names = sorted(set(prefixes.values()))
    places = {name: place for place, name in enumerate(names)}
    _check_number("--per prefix", len(names))

    def codes(part: Part, table: Any) -> Codes:
        return np.full(len(table), places[prefixes[part.shard]], np.int32)

    return Buckets(names=names, columns=[], codes=codes)


def _by_megapixels() -> Buckets:
    edges = np.array(_MEGAPIXELS)
    names = [f"{low:g} to {high:g} MP" for low, high in pairwise(edges)]

    def codes(part: Part, table: Any) -> Codes:
        # only scored rows come here, and those have a size
        sides = [table[side].to_numpy().astype(np.float64) for side in ("width", "height")]
        megapixels_N = sides[0] * sides[1] / 1e6
        return (np.searchsorted(edges, megapixels_N, side="right") - 1).astype(np.int32)

    names.append(f"{edges[-1]:g} MP and more")
    return Buckets(names=names, columns=["width", "height"], codes=codes)


def _by_join(column: str, url: str) -> Buckets:
    keys, batches = _joined_batches(column, url)
    names: dict[str, int] = {}
    hashes: list[Hashes] = []
    places: list[Codes] = []
    for batch in batches:
        hashes.append(_hash_keys(batch, keys))
        values = batch[column].cast(pa.string()).fill_null(UNMATCHED).dictionary_encode()
        own = [names.setdefault(value, len(names)) for value in values.dictionary.to_pylist()]
        _check_number(f"--per {column}", len(names))
        places.append(np.array(own, np.int32)[values.indices.to_numpy()])
    unmatched = names.setdefault(UNMATCHED, len(names))
    hashes_N, places_N = np.concatenate(hashes), np.concatenate(places)
    order_N = np.argsort(hashes_N, kind="stable")
    hashes_N, places_N = hashes_N[order_N], places_N[order_N]
    twice = (hashes_N[1:] == hashes_N[:-1]) & (places_N[1:] != places_N[:-1])
    if twice.any():
        raise InputError(
            f"{redact(url)}: says two things about {twice.sum():,} rows of equal "
            f"{' and '.join(keys)}"
        )

    def codes(part: Part, table: Any) -> Codes:
        wanted_N = _hash_keys(table, keys)
        found_N = np.minimum(np.searchsorted(hashes_N, wanted_N), len(hashes_N) - 1)
        return np.where(hashes_N[found_N] == wanted_N, places_N[found_N], unmatched)

    return Buckets(names=list(names), columns=keys, codes=codes)


def _joined_batches(column: str, url: str) -> tuple[list[str], Iterator[Any]]:
    """Yield the columns to join by, and what the files hold of them and of `column`."""
    is_file = url.endswith(ANNOTATION_SUFFIX)
    names = sorted(name for name in list_files(url) if name.endswith(ANNOTATION_SUFFIX))
    files = [url] if is_file else [join(url, name) for name in names]
    if not files:
        raise InputError(f"{redact(url)}: no {ANNOTATION_SUFFIX} file here")
    try:
        with open_read(files[0]) as file:
            schema = pq.read_schema(file)
        if column not in schema.names:
            guess = nearest(column, set(schema.names))
            hint = f"did you mean {guess}?" if guess else f"it has {', '.join(schema.names)}"
            raise InputError(f"{redact(files[0])}: no column {column}; {hint}")
        choices = (["shard", "key"], ["uid"], ["key"])
        keys = next((keys for keys in choices if {*keys} <= {*schema.names}), None)
        if keys is None:
            raise InputError(f"{redact(files[0])}: has neither uid nor key to join it by")
        if not any(_count_rows(file) for file in files):
            raise InputError(f"{redact(url)}: holds no rows")
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{redact(url)}: not Parquet: {reason(error)}") from error
    return keys, (batch for file in files for batch in _batches(file, [column, *keys]))


def _batches(url: str, columns: Sequence[str]) -> Iterator[Any]:
    try:
        with open_read(url) as file:
            yield from pq.ParquetFile(file).iter_batches(columns=list(columns))
    except (OSError, pa.ArrowException, ValueError) as error:
        raise InputError(f"{redact(url)}: can't be joined: {reason(error)}") from error


def _count_rows(url: str) -> int:
    with open_read(url) as file:
        return pq.ParquetFile(file).metadata.num_rows


def _hash_keys(table: Any, keys: Sequence[str]) -> Hashes:
    first_N, *others = [hash_strings(table[key]) for key in keys]
    for other_N in others:
        first_N = combine(first_N, other_N)
    return first_N


def _check_number(what: str, number: int) -> None:
    if number > _MAX_BUCKETS:
        raise InputError(f"{what}: makes over {_MAX_BUCKETS:,} buckets; name one with fewer values")
