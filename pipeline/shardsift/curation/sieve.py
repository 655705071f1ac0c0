"""One annotation file: its rows that count, those that are kept, and why the others are not."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shardsift.annotations.folder import Annotations
from shardsift.annotations.ordering import tie_hashes
from shardsift.annotations.parquet import count_values
from shardsift.annotations.survey import Part
from shardsift.curation.buckets import Buckets
from shardsift.curation.columns import Columns, Ranking
from shardsift.curation.duplicates import Duplicates, GroupColumn, Grouped
from shardsift.curation.selection import Cuts, Keys
from shardsift.curation.where import Condition
from shardsift.errors import AnnotationError
from shardsift.storage.files import join

THREADS = 2 * (os.cpu_count() or 1)
"""They let go of Python's lock; while one waits for a disk, another works."""


@dataclass(kw_only=True, slots=True)
class Counts:
    """What becomes of rows: each is counted once.

    kept          scored, and kept
    kept_errors   kept without a score, by error code
    below         worse than the threshold
    tied          as good as the threshold, and yet one too many
    duplicates    of a better one
    valueless     without a value of what the filter goes by
    excluded      by `where`
    errors        dropped for want of a score, by error code
    """

    kept: int = 0
    kept_errors: Counter[str] = field(default_factory=Counter[str])
    below: int = 0
    tied: int = 0
    duplicates: int = 0
    valueless: int = 0
    excluded: int = 0
    errors: Counter[str] = field(default_factory=Counter[str])

    def add(self, other: Counts) -> None:
        """Count another file's rows, too."""
        self.kept += other.kept
        self.below += other.below
        self.tied += other.tied
        self.duplicates += other.duplicates
        self.valueless += other.valueless
        self.excluded += other.excluded
        self.kept_errors.update(other.kept_errors)
        self.errors.update(other.errors)

    @property
    def kept_in_all(self) -> int:
        """With a score and without."""
        return self.kept + self.kept_errors.total()

    @property
    def rows(self) -> int:
        """All of them together."""
        ranked = self.kept_in_all + self.below + self.tied
        left_out = self.duplicates + self.valueless + self.excluded
        return ranked + left_out + self.errors.total()


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of a file that pass `where`; of those with a score, what is wrong with some of them."""

    table: Any
    is_scored_N: NDArray[np.bool_]
    has_value_N: NDArray[np.bool_]
    is_duplicate_N: NDArray[np.bool_]

    @property
    def ranked(self) -> NDArray[np.bool_]:
        """Which rows have a place in the order, shape (N,)."""
        return self.has_value_N & ~self.is_duplicate_N


@dataclass(frozen=True, kw_only=True, slots=True)
class Sieve:
    """What rows of a folder of annotations are chosen from.

    `where` is None for all rows, `unique` if nothing makes groups, and `duplicates` as long as they
    were not looked for; with `keeps_errors` rows
    without a score are kept if they pass `where`.
    """

    annotations: Annotations
    columns: Columns
    by: Ranking
    where: Condition | None
    buckets: Buckets
    keeps_errors: bool
    unique: GroupColumn | None = None
    duplicates: Duplicates | None = None

    def keys(self, part: Part) -> Keys:
        """Return the places of selectable rows in the order of all rows. Raises AnnotationError."""
        rows = self._read(part, ())
        return self._keys(part, rows.table.filter(pa.array(rows.ranked)))

    def groups(self, part: Part) -> Grouped:
        """Return groups by `unique`, and places, of selectable rows. Raises AnnotationError."""
        column = self.unique
        assert column, "something makes groups"
        rows = self._read(part, [column.name])
        has_group_N = rows.table[column.name].is_valid().to_numpy()
        table = rows.table.filter(pa.array(rows.ranked & has_group_N))
        index_N = table["index"].to_numpy()
        return Grouped(column.groups(table), self._keys(part, table), index_N)

    def sift(self, part: Part, cuts: Cuts, columns: Sequence[str]) -> tuple[Any, Counts]:
        """Return a file's kept rows, those `columns` of them, and what became of all its rows."""
        rows = self._read(part, [*columns, "error"] if self.keeps_errors else columns)
        is_ranked_N = rows.ranked
        keys = self._keys(part, rows.table.filter(pa.array(is_ranked_N)))
        is_kept_N = ~rows.is_scored_N & self.keeps_errors
        is_kept_N[is_ranked_N] = is_best_N = cuts.keep(keys)
        kept, ranked = int(is_best_N.sum()), len(is_best_N)
        scored, valued = int(rows.is_scored_N.sum()), int(rows.has_value_N.sum())
        below = int((keys.rank_N < cuts.rank_B[keys.bucket_N]).sum())
        counts = Counts(
            kept=kept,
            below=below,
            tied=ranked - kept - below,
            duplicates=valued - ranked,
            valueless=scored - valued,
        )
        if self.keeps_errors:
            counts.kept_errors = Counter(count_values(rows.table["error"]))
            counts.excluded = part.rows - len(rows.table)
        else:
            counts.errors = Counter(part.errors)
            counts.excluded = part.scored - scored
        return rows.table.select(list(columns)).filter(pa.array(is_kept_N)), counts

    def _keys(self, part: Part, table: Any) -> Keys:
        return Keys(
            bucket_N=self.buckets.codes(part, table),
            rank_N=self.by.ranks(table),
            tie_N=tie_hashes(part.shard, table["index"].to_numpy()),
        )

    def _read(self, part: Part, columns: Collection[str]) -> _Rows:
        """Read the rows that pass `where`, those without a score among them."""
        url = join(self.annotations.url, part.name)
        names = {"index", "quality", self.by.column, *columns, *self.buckets.columns}
        looked_at = self.where.columns if self.where else frozenset[str]()
        to_read = self.columns.to_read(names | looked_at)
        table = self.annotations.read(part.name, to_read)
        _check_scores(url, part, table["quality"])
        table = self.columns.complete(table, names | looked_at)
        if self.where:
            passes_N = self.where.passes(table, part.shard)
            table = table.select(sorted(names)).filter(pa.array(passes_N))
        is_scored_N = table["quality"].is_valid().to_numpy()
        has_value_N = is_scored_N & self.by.has_value(table)
        is_duplicate_N = np.zeros_like(has_value_N)
        if self.duplicates:
            is_duplicate_N = self.duplicates.among(part, table["index"].to_numpy())
        return _Rows(table, is_scored_N, has_value_N, is_duplicate_N)


def _check_scores(url: str, part: Part, quality: Any) -> None:
    scored = len(quality) - quality.null_count
    if scored != part.scored:
        raise AnnotationError(
            f"{url}: its footer counts {part.scored:,} rows with a score, it has "
            f"{scored:,}; see `shardsift verify`"
        )
    if not np.isfinite(quality.drop_null().to_numpy()).all():
        raise AnnotationError(f"{url}: has a quality that is not finite; see `shardsift verify`")
