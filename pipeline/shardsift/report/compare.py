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

from shardsift.annotations.folder import OutputFolder
from shardsift.errors import InputError

LARGEST = 10
"""How many of the largest differences are named."""

_THREADS = 8

Qualities = NDArray[np.float32]


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


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What came out of comparing runs A and B.

    Attributes:
        samples: in both. scored: in both with a score; only_a, only_b: scored there alone.
        shards_only_a, shards_only_b: annotation files without a counterpart.
        settings: what differs between the configurations, as (A, B).
        mean, mean_absolute, max_absolute: of B - A. srcc, plcc: of A and B.
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


def compare(url_a: str, url_b: str, keep_tops: Sequence[float]) -> Comparison:
    """Compare the annotations in two folders, sample by sample.

    Holds two numbers a sample. Raises InputError if no sample has a score in both.
    """
    folder_a, folder_b = OutputFolder(url_a), OutputFolder(url_b)
    common = sorted(folder_a.committed & folder_b.committed)
    if not common:
        raise InputError(f"{url_a} and {url_b} have no annotation file of the same shard")
    pairs = list(_pairs(folder_a, folder_b, common))
    a_N = np.concatenate([a for a, _, _ in pairs])
    b_N = np.concatenate([b for _, b, _ in pairs])
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
        settings=_differing(*(record.config if record else {} for record in records)),
        mean=float((b - a).mean()),
        mean_absolute=float(np.abs(b - a).mean()),
        max_absolute=float(np.abs(b - a).max()),
        srcc=float(cast(Any, stats.spearmanr(a, b)).statistic),
        plcc=float(np.corrcoef(a, b)[0, 1]),
        overlaps=[measure_overlap(a, b, share) for share in keep_tops],
        largest=_largest(found for pair in pairs for found in pair[2]),
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


def _pairs(
    folder_a: OutputFolder, folder_b: OutputFolder, names: list[str]
) -> Iterator[tuple[Qualities, Qualities, list[Difference]]]:
    def pair(name: str) -> tuple[Qualities, Qualities, list[Difference]]:
        return _pair(folder_a.annotations.read(name), folder_b.annotations.read(name))

    with ThreadPoolExecutor(_THREADS, "compare") as pool:
        yield from pool.map(pair, names)


def _pair(table_a: Any, table_b: Any) -> tuple[Qualities, Qualities, list[Difference]]:
    """Pair the qualities of the samples that both files have, NaN if not scored."""
    if not (table_a["key"].equals(table_b["key"]) and table_a["index"].equals(table_b["index"])):
        place = {pair: n for n, pair in enumerate(_identities(table_b))}
        matches = [(n, place[pair]) for n, pair in enumerate(_identities(table_a)) if pair in place]
        table_a = table_a.take(pa.array([a for a, _ in matches], pa.int64()))
        table_b = table_b.take(pa.array([b for _, b in matches], pa.int64()))
    a_N, b_N = _qualities(table_a), _qualities(table_b)
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
    return a_N, b_N, found


def _identities(table: Any) -> list[tuple[str, int]]:
    return list(zip(table["key"].to_pylist(), table["index"].to_pylist(), strict=True))


def _qualities(table: Any) -> Qualities:
    column = table["quality"].cast(pa.float32())
    return cast(Qualities, column.to_numpy(zero_copy_only=False))


def _largest(found: Iterator[Difference]) -> list[Difference]:
    return sorted(found, key=lambda d: (-abs(d.a - d.b), d.shard, d.key))[:LARGEST]


def _differing(a: dict[str, Any], b: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {
        key: (a.get(key), b.get(key))
        for key in sorted(a.keys() | b.keys())
        if a.get(key) != b.get(key)
    }
