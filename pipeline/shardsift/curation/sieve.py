"""One annotation file: its rows that count, those that are kept, and why the others are not."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from shardsift.annotations.folder import Annotations
from shardsift.annotations.parquet import count_values
from shardsift.annotations.survey import Part
from shardsift.curation.buckets import Buckets
from shardsift.curation.ordering import rank, tie_hashes
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
    excluded      by `where`
    errors        dropped for want of a score, by error code
    """

    kept: int = 0
    kept_errors: Counter[str] = field(default_factory=Counter[str])
    below: int = 0
    tied: int = 0
    excluded: int = 0
    errors: Counter[str] = field(default_factory=Counter[str])

    def add(self, other: Counts) -> None:
        """Count another file's rows, too."""
        self.kept += other.kept
        self.below += other.below
        self.tied += other.tied
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
        return self.kept_in_all + self.below + self.tied + self.excluded + self.errors.total()


@dataclass(frozen=True, kw_only=True, slots=True)
class Sieve:
    """What rows of a folder of annotations are chosen from.

    `where` is None for all rows; with `keeps_errors` rows without a score are kept if they pass it.
    """

    annotations: Annotations
    where: Condition | None
    buckets: Buckets
    keeps_errors: bool

    def keys(self, part: Part) -> Keys:
        """Return the places of selectable rows in the order of all rows. Raises AnnotationError."""
        table = self._read(part, {"index", "quality", *self.buckets.columns})
        return self._keys(part, table, table["quality"].is_valid())

    def sift(self, part: Part, cuts: Cuts, columns: Sequence[str]) -> tuple[Any, Counts]:
        """Return a file's kept rows, those `columns` of them, and what became of all its rows."""
        wanted = {*columns, "index", "quality", *self.buckets.columns}
        table = self._read(part, wanted | {"error"} if self.keeps_errors else wanted)
        is_scored = table["quality"].is_valid()
        keys = self._keys(part, table, is_scored)
        is_kept_N = np.full(len(table), self.keeps_errors)
        is_kept_N[is_scored.to_numpy()] = is_scored_kept_N = cuts.keep(keys)
        kept, scored = int(is_scored_kept_N.sum()), len(is_scored_kept_N)
        below = int((keys.rank_N < cuts.rank_B[keys.bucket_N]).sum())
        counts = Counts(kept=kept, below=below, tied=scored - kept - below)
        if self.keeps_errors:
            counts.kept_errors = Counter(count_values(table["error"]))
            counts.excluded = part.rows - len(table)
        else:
            counts.errors = Counter(part.errors)
            counts.excluded = part.scored - scored
        return table.select(list(columns)).filter(pa.array(is_kept_N)), counts

    def _keys(self, part: Part, table: Any, is_scored: Any) -> Keys:
        scored = table.select(["index", "quality", *self.buckets.columns]).filter(is_scored)
        return Keys(
            bucket_N=self.buckets.codes(part, scored),
            rank_N=rank(scored["quality"].to_numpy()),
            tie_N=tie_hashes(part.shard, scored["index"].to_numpy()),
        )

    def _read(self, part: Part, columns: Collection[str]) -> Any:
        """Read the rows that pass `where`, those without a score among them."""
        url = join(self.annotations.url, part.name)
        looked_at = self.where.columns if self.where else frozenset[str]()
        table = self.annotations.read(part.name, sorted({*columns, *looked_at}))
        quality = table["quality"]
        scored = len(table) - quality.null_count
        if scored != part.scored:
            raise AnnotationError(
                f"{url}: its footer counts {part.scored:,} rows with a score, it has "
                f"{scored:,}; see `shardsift verify`"
            )
        if not np.isfinite(quality.drop_null().to_numpy()).all():
            raise AnnotationError(
                f"{url}: has a quality that is not finite; see `shardsift verify`"
            )
        if self.where is None:
            return table
        passes_N = self.where.passes(table, part.shard)
        return table.select(sorted(columns)).filter(pa.array(passes_N))
