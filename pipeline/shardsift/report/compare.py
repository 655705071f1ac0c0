"""Two runs over the same shards: how far their scores differ, and what both would keep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import stats

from shardsift.annotations.documents import RunRecord
from shardsift.annotations.folder import OutputFolder
from shardsift.errors import InputError

LARGEST = 10
"""How many of the largest differences are named."""

_THREADS = 8

Values = NDArray[np.float32]
"""Of C columns, shape (C, N)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A sample whose two scores lie far apart."""

    shard: str
    key: str
    a: float
    b: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """What both runs keep when each keeps its best share of the samples scored by both.

    `of_kept` is the part of a run's choice that the other shares, `jaccard` the part of what
    either keeps.
    """

    keep_top: float
    min_quality_a: float
    min_quality_b: float
    of_kept: float
    jaccard: float


@dataclass(frozen=True, kw_only=True, slots=True)
class AttributeDifference:
    """How far an attribute that both runs have differs, over samples scored by both."""

    mean: float
    mean_absolute: float
    max_absolute: float
    srcc: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What came out of comparing runs A and B.

    Attributes:
        samples: in both. scored: in both with a score; only_a, only_b: scored there alone.
        shards_only_a, shards_only_b: annotation files without a counterpart.
        settings: what differs between the configurations, as (A, B).
        mean, mean_absolute, max_absolute: of B - A. srcc, plcc: of A and B.
        attributes: the same of each attribute that both have.
    """

    samples: int
    scored: int
    only_a: int
    only_b: int
    shards_only_a: int
    shards_only_b: int
    fingerprints: tuple[str | None, str | None]
    settings: Mapping[str, tuple[Any, Any]]
    mean: float
    mean_absolute: float
    max_absolute: float
    srcc: float
    plcc: float
    overlaps: Sequence[Overlap]
    largest: Sequence[Difference]
    attributes: Mapping[str, AttributeDifference]


def compare(url_a: str, url_b: str, keep_tops: Sequence[float]) -> Comparison:
    """Compare the annotations in two folders, sample by sample.

    Holds two numbers a sample. Raises InputError if no sample has a score in both.
    """
    folder_a, folder_b = OutputFolder(url_a), OutputFolder(url_b)
    common = sorted(folder_a.committed & folder_b.committed)
    if not common:
        raise InputError(f"{url_a} and {url_b} have no annotation file of the same shard")
    shared = _shared_attributes(folder_a, folder_b)
    pairs = list(_pairs(folder_a, folder_b, common, shared))
    a_CN = np.concatenate([pair.a_CN for pair in pairs], axis=1)
    b_CN = np.concatenate([pair.b_CN for pair in pairs], axis=1)
    a_N, b_N = a_CN[0], b_CN[0]
    in_a_N, in_b_N = np.isfinite(a_N), np.isfinite(b_N)
    both_N = in_a_N & in_b_N
    if both_N.sum() < 2:
        raise InputError(f"{url_a} and {url_b}: fewer than two samples have a score in both")
    a, b = a_N[both_N].astype(np.float64), b_N[both_N].astype(np.float64)
    records = folder_a.record, folder_b.record
    return Comparison(
        samples=len(a_N),
        scored=len(a),
        only_a=int((in_a_N & ~in_b_N).sum()),
        only_b=int((in_b_N & ~in_a_N).sum()),
        shards_only_a=len(folder_a.committed - folder_b.committed),
        shards_only_b=len(folder_b.committed - folder_a.committed),
        fingerprints=(
            records[0].fingerprint if records[0] else None,
            records[1].fingerprint if records[1] else None,
        ),
        settings=_differing(*map(_settings, records)),
        mean=float((b - a).mean()),
        mean_absolute=float(np.abs(b - a).mean()),
        max_absolute=float(np.abs(b - a).max()),
        srcc=float(cast(Any, stats.spearmanr(a, b)).statistic),
        plcc=float(np.corrcoef(a, b)[0, 1]),
        overlaps=[measure_overlap(a, b, share) for share in keep_tops],
        largest=_largest(found for pair in pairs for found in pair.largest),
        attributes={
            name: _difference(own_a[both_N], own_b[both_N])
            for name, own_a, own_b in zip(shared, a_CN[1:], b_CN[1:], strict=True)
        },
    )


def measure_overlap(a_N: NDArray[np.float64], b_N: NDArray[np.float64], keep_top: float) -> Overlap:
    """Measure what both keep if each keeps what is at least as good as its own quantile."""
    lowest_a, lowest_b = (float(np.quantile(values, 1 - keep_top)) for values in (a_N, b_N))
    kept_a, kept_b = a_N >= lowest_a, b_N >= lowest_b
    shared = int((kept_a & kept_b).sum())
    return Overlap(
        keep_top=keep_top,
        min_quality_a=lowest_a,
        min_quality_b=lowest_b,
        of_kept=2 * shared / max(int(kept_a.sum() + kept_b.sum()), 1),
        jaccard=shared / max(int((kept_a | kept_b).sum()), 1),
    )


def _shared_attributes(folder_a: OutputFolder, folder_b: OutputFolder) -> list[str]:
    own = [folder.record.extras.columns if folder.record else [] for folder in (folder_a, folder_b)]
    return sorted({*own[0]} & {*own[1]})


def _difference(a_N: NDArray[np.float32], b_N: NDArray[np.float32]) -> AttributeDifference:
    gap_N = b_N.astype(np.float64) - a_N
    return AttributeDifference(
        mean=float(gap_N.mean()),
        mean_absolute=float(np.abs(gap_N).mean()),
        max_absolute=float(np.abs(gap_N).max()),
        srcc=float(cast(Any, stats.spearmanr(a_N, b_N)).statistic),
    )


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two annotations of a shard: quality and shared attributes, NaN if null."""

    a_CN: Values
    b_CN: Values
    largest: list[Difference]


def _pairs(
    folder_a: OutputFolder, folder_b: OutputFolder, names: list[str], shared: list[str]
) -> Iterator[_Pair]:
    columns = ["key", "index", "shard", "quality", *shared]

    def pair(name: str) -> _Pair:
        table_a, table_b = (f.annotations.read(name, columns) for f in (folder_a, folder_b))
        return _pair(table_a, table_b, ["quality", *shared])

    with ThreadPoolExecutor(_THREADS, "compare") as pool:
        yield from pool.map(pair, names)


def _pair(table_a: Any, table_b: Any, compared: list[str]) -> _Pair:
    """Pair the values of the samples that both files have."""
    if not (table_a["key"].equals(table_b["key"]) and table_a["index"].equals(table_b["index"])):
        place = {pair: n for n, pair in enumerate(_identities(table_b))}
        matches = [(n, place[pair]) for n, pair in enumerate(_identities(table_a)) if pair in place]
        table_a = table_a.take(pa.array([a for a, _ in matches], pa.int64()))
        table_b = table_b.take(pa.array([b for _, b in matches], pa.int64()))
    a_CN, b_CN = _values(table_a, compared), _values(table_b, compared)
    a_N, b_N = a_CN[0], b_CN[0]
    gap_N = np.nan_to_num(np.abs(a_N - b_N))
    largest = np.argsort(-gap_N, kind="stable")[:LARGEST]
    found = [
        Difference(
            shard=table_a["shard"][int(n)].as_py(),
            key=table_a["key"][int(n)].as_py(),
            a=float(a_N[n]),
            b=float(b_N[n]),
        )
        for n in largest
        if gap_N[n] > 0
    ]
    return _Pair(a_CN, b_CN, found)


def _identities(table: Any) -> list[tuple[str, int]]:
    return list(zip(table["key"].to_pylist(), table["index"].to_pylist(), strict=True))


def _values(table: Any, columns: list[str]) -> Values:
    found = (table[name].cast(pa.float32()).to_numpy(zero_copy_only=False) for name in columns)
    return np.stack(list(found))


def _largest(found: Iterator[Difference]) -> list[Difference]:
    return sorted(found, key=lambda d: (-abs(d.a - d.b), d.shard, d.key))[:LARGEST]


def _settings(record: RunRecord | None) -> dict[str, Any]:
    """Return what annotations were made with, and what they hold beside scores."""
    return record.config | record.extras.model_dump(mode="json") if record else {}


def _differing(a: dict[str, Any], b: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {
        key: (a.get(key), b.get(key))
        for key in sorted(a.keys() | b.keys())
        if a.get(key) != b.get(key)
    }
