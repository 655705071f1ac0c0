"""Comparison of two runs over the same shards: differences of scores, overlap of kept samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import stats

from shardsift.errors import InputError
from shardsift.measures import MACLIP
from shardsift.outputs.beside import Beside, find_beside
from shardsift.outputs.json_records import RunRecord
from shardsift.outputs.output_folder import OutputFolder, annotated_shard, find_scores
from shardsift.threads import map_ordered

Values = NDArray[np.float32]
"""Shape (C, N), NaN if null."""

Rows = NDArray[np.int32]
"""Places in the annotation file of each side, shape (2, N)."""

_THREADS = 8


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Rows of two runs for the same samples, file by file.

    Attributes:
        names: of the annotation files that both have; begins: where each one's pairs begin.
        compared: names of the compared columns, quality first.
        a_CN, b_CN: their values.
    """

    folders: tuple[OutputFolder, OutputFolder]
    names: Sequence[str]
    begins: NDArray[np.int64]
    row_2N: Rows
    compared: Sequence[str]
    a_CN: Values
    b_CN: Values

    def read(self, places: Sequence[int]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Read all columns of both rows of some pairs, in their order."""
        file_of = np.searchsorted(self.begins, places, side="right") - 1
        found: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}

        def rows_of(file: int) -> None:
            own = [place for place, at in zip(places, file_of, strict=True) if at == file]
            tables = (folder.annotations.read(self.names[file]) for folder in self.folders)
            a, b = (
                table.take(pa.array(self.row_2N[side, own])).to_pylist()
                for side, table in enumerate(tables)
            )
            found.update(zip(own, zip(a, b, strict=True), strict=True))

        with ThreadPoolExecutor(_THREADS, "compare") as pool:
            list(pool.map(rows_of, sorted(set(file_of.tolist()))))
        return [found[place] for place in places]


def read_pairs(
    folders: tuple[OutputFolder, OutputFolder],
    compared: Sequence[str],
    outputs: Sequence[Beside] = (),
) -> Pairs:
    """Read the compared columns of the files that both folders have.

    Columns that a folder lacks are those of the outputs beside it. Holds two numbers a column and
    sample, and two places. Raises AnnotationError, and InputError as `Beside.read`.
    """
    names = sorted(folders[0].committed & folders[1].committed)

    def pair(name: str) -> tuple[Rows, Values, Values]:
        table_a, table_b = (_read(folder, name, compared, outputs) for folder in folders)
        row_2N = _match(table_a, table_b)
        a_CN, b_CN = _values(table_a, compared), _values(table_b, compared)
        return row_2N, a_CN[:, row_2N[0]], b_CN[:, row_2N[1]]

    found = list(map_ordered(pair, names, _THREADS))
    sizes = [rows.shape[1] for rows, _, _ in found]
    row_2N, a_CN, b_CN = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
    return Pairs(
        folders=folders,
        names=names,
        begins=np.cumsum([0, *sizes[:-1]]),
        row_2N=row_2N,
        compared=compared,
        a_CN=a_CN,
        b_CN=b_CN,
    )


def _read(
    folder: OutputFolder, name: str, compared: Sequence[str], outputs: Sequence[Beside]
) -> Any:
    own = {column.name for column in folder.contents.columns}
    names = ["key", "index", *(column for column in compared if column in own)]
    footer, table = folder.annotations.read_with_footer(name, names)
    for output in outputs:
        theirs = {column.name for column in output.columns}
        lacking = [c for c in compared if c in theirs and c not in table.column_names]
        added = output.read(annotated_shard(name, footer), lacking)
        for column in lacking:
            table = table.append_column(column, added[column])
    return table


def _match(table_a: Any, table_b: Any) -> Rows:
    """Find the rows of the samples that both tables have."""
    if table_a["key"].equals(table_b["key"]) and table_a["index"].equals(table_b["index"]):
        return np.tile(np.arange(len(table_a), dtype=np.int32), (2, 1))
    place = {sample: n for n, sample in enumerate(_identities(table_b))}
    found = [(n, place[sample]) for n, sample in enumerate(_identities(table_a)) if sample in place]
    return np.array(found, np.int32).reshape(-1, 2).T


def _identities(table: Any) -> list[tuple[str, int]]:
    return list(zip(table["key"].to_pylist(), table["index"].to_pylist(), strict=True))


def _values(table: Any, columns: Sequence[str]) -> Values:
    found = (table[name].cast(pa.float32()).to_numpy(zero_copy_only=False) for name in columns)
    return np.stack(list(found))


LARGEST = 10
"""Number of the largest differences that are named."""

_MOST_TIES = 100
"""Most differences as large as the last of them that are looked at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A sample whose two scores lie far apart."""

    shard: str
    key: str
    a: float
    b: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """Samples that both runs keep when each keeps its best share of those scored by both.

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
    """Difference of an attribute that both runs have, over samples scored by both."""

    mean: float
    mean_absolute: float
    max_absolute: float
    srcc: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Result of comparing runs A and B.

    Attributes:
        samples: in both runs. scored: with a score in both. only_a, only_b: scored only in that
            run.
        shards_only_a, shards_only_b: annotation files without a counterpart.
        settings: differences between the configurations, as (A, B).
        mean, mean_absolute, max_absolute: of B - A. srcc, plcc: of A and B.
        attributes: the same statistics for each attribute of both.
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

    Raises:
        InputError: if no sample has a score in both.
    """
    return compare_pairs(pair_up(url_a, url_b), keep_tops)


def pair_up(url_a: str, url_b: str, beside: Sequence[str] = ()) -> Pairs:
    """Pair the samples of two folders of annotations. Raises InputError if they share none.

    Columns that one of them lacks are those of outputs that stand `beside` both.
    """
    folders = find_scores(url_a), find_scores(url_b)
    outputs = find_beside(beside)
    if not folders[0].committed & folders[1].committed:
        raise InputError(f"{url_a} and {url_b} have no annotation file of the same shard")
    shared = _shared_columns(folders, outputs)
    return read_pairs(folders, ["quality", *shared], outputs)


def compare_pairs(pairs: Pairs, keep_tops: Sequence[float]) -> Comparison:
    """Compare the samples of two runs. Raises InputError if fewer than two have both scores."""
    folder_a, folder_b = pairs.folders
    in_a_N, in_b_N = np.isfinite(pairs.a_CN[0]), np.isfinite(pairs.b_CN[0])
    both_N = in_a_N & in_b_N
    if both_N.sum() < 2:
        raise InputError(
            f"{folder_a.url} and {folder_b.url}: fewer than two samples have a score in both"
        )
    a, b = (values_CN[0][both_N].astype(np.float64) for values_CN in (pairs.a_CN, pairs.b_CN))
    records = folder_a.record, folder_b.record
    return Comparison(
        samples=len(both_N),
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
        largest=_largest(pairs),
        attributes={
            name: _difference(own_a[both_N], own_b[both_N])
            for name, own_a, own_b in zip(
                pairs.compared[1:], pairs.a_CN[1:], pairs.b_CN[1:], strict=True
            )
        },
    )


def measure_overlap(a_N: NDArray[np.float64], b_N: NDArray[np.float64], keep_top: float) -> Overlap:
    """Measure the overlap if each keeps samples from its own quantile on."""
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


def _shared_columns(
    folders: tuple[OutputFolder, OutputFolder], outputs: Sequence[Beside]
) -> list[str]:
    """Name the further columns that both folders have, or that one has and an output beside it."""
    own = [{c.name for c in folder.contents.further if c.is_fraction} for folder in folders]
    beside = {column.name for output in outputs for column in output.columns}
    return sorted((own[0] & own[1]) | ((own[0] | own[1]) & beside))


def _difference(a_N: NDArray[np.float32], b_N: NDArray[np.float32]) -> AttributeDifference:
    gap_N = b_N.astype(np.float64) - a_N
    return AttributeDifference(
        mean=float(gap_N.mean()),
        mean_absolute=float(np.abs(gap_N).mean()),
        max_absolute=float(np.abs(gap_N).max()),
        srcc=float(cast(Any, stats.spearmanr(a_N, b_N)).statistic),
    )


def _largest(pairs: Pairs) -> list[Difference]:
    """Name the samples that differ most, with equal ones by their names."""
    gap_N = np.nan_to_num(np.abs(pairs.a_CN[0] - pairs.b_CN[0]))
    most = min(LARGEST, int((gap_N > 0).sum()))
    if not most:
        return []
    least = np.partition(gap_N, -most)[-most]
    places = np.flatnonzero(gap_N >= least)[: _MOST_TIES + most].tolist()
    found = [
        Difference(
            shard=row["shard"],
            key=row["key"],
            a=float(pairs.a_CN[0, place]),
            b=float(pairs.b_CN[0, place]),
        )
        for place, (row, _) in zip(places, pairs.read(places), strict=True)
    ]
    return sorted(found, key=lambda d: (-abs(d.a - d.b), d.shard, d.key))[:LARGEST]


def _settings(record: RunRecord | None) -> dict[str, Any]:
    """Return the settings of annotations, and their further columns."""
    if record is None:
        return {}
    further = {name: own.settings for name, own in record.measures.items() if name != MACLIP}
    return record.config | further | {"embeddings": list(record.embeddings)}


def _differing(a: dict[str, Any], b: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {
        key: (a.get(key), b.get(key))
        for key in sorted(a.keys() | b.keys())
        if a.get(key) != b.get(key)
    }
