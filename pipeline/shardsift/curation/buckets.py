"""Which bucket a row belongs to: all buckets are known before the first row is read."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shardsift.annotations.survey import Part
from shardsift.config import did_you_mean
from shardsift.curation.filter_config import MEGAPIXELS, PREFIX
from shardsift.curation.joined import JoinedColumn
from shardsift.errors import InputError
from shardsift.shards.plan import shard_prefixes

Codes = NDArray[np.int32]

UNMATCHED = "(not joined)"
_MOST_BUCKETS = 1 << 14

_MEGAPIXELS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Buckets:
    """`codes` gives rows of a shard, a table with at least `columns`, their places in `names`."""

    names: Sequence[str]
    columns: Sequence[str]
    codes: Callable[[Part, Any], Codes]


def make_buckets(per: str | None, joined: JoinedColumn | None, parts: Sequence[Part]) -> Buckets:
    """Make the buckets of `--per`, a single one without it; `joined` is its column, if it has one.

    Raises:
        InputError: if there are no such buckets, or too many.
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
    otherwise = "name the Parquet file that has it with --join"
    hint = did_you_mean(per, (PREFIX, MEGAPIXELS), otherwise)
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


def _by_join(column: str, joined: JoinedColumn) -> Buckets:
    values = joined.values_N
    if not pa.types.is_dictionary(values.type):
        values = values.cast(pa.string()).dictionary_encode()
    names = values.dictionary.to_pylist()
    _check_number(f"--per {column}", len(names))
    joined = replace(joined, values_N=values.indices)

    def codes(part: Part, table: Any) -> Codes:
        return joined.look_up(table).fill_null(len(names)).to_numpy()

    return Buckets(names=[*names, _unmatched(names)], columns=joined.keys, codes=codes)


def _check_number(what: str, buckets: int) -> None:
    if buckets > _MOST_BUCKETS:
        raise InputError(
            f"{what}: makes over {_MOST_BUCKETS:,} buckets; name one with fewer values"
        )


def _unmatched(names: Container[str]) -> str:
    """Name the bucket of rows that aren't joined, which no value of the column may be."""
    name = UNMATCHED
    while name in names:
        name = f"({name})"
    return name
