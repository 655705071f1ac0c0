"""One annotation file: its rows that count, those that are kept, and why the others are not."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.annotations import SCHEMA as ANNOTATIONS
from pipeline.annotations import read
from pipeline.curation.buckets import Buckets
from pipeline.curation.ordering import rank, tie_hashes
from pipeline.curation.selection import Cuts, Keys
from pipeline.curation.survey import Part
from pipeline.errors import AnnotationError
from pipeline.redaction import redact
from pipeline.storage import join

SCHEMA = pa.schema(
    [ANNOTATIONS.field(name) for name in ("shard", "key", "index", "uid", "quality")]
)
"""Columns of a keep-list; `quality` is null where a sample without a score is kept."""

THREADS = os.cpu_count() or 1
"""Reading and counting lets go of Python's lock, so a thread a core."""


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
    def rows(self) -> int:
        """All of them together."""
        errors = self.kept_errors.total() + self.errors.total()
        return self.kept + self.below + self.tied + self.excluded + errors


@dataclass(frozen=True, kw_only=True, slots=True)
class Sieve:
    """What rows of a folder of annotations are chosen from.

    `where` is an expression of pyarrow, None for all rows; with `keeps_errors` rows without a
    score are kept where they pass it.
    """

    url: str
    where: Any
    buckets: Buckets
    keeps_errors: bool

    def keys(self, part: Part) -> Keys:
        """The place in the order of all rows that can be selected. Raises AnnotationError."""
        columns = ["index", "quality", *self.buckets.columns]
        return self._keys(part, self._read(part, columns, with_errors=False))

    def sift(self, part: Part, cuts: Cuts, columns: Sequence[str]) -> tuple[Any, Counts]:
        """The kept rows of a file, those `columns` of them, and what became of all its rows."""
        wanted = {*columns, "index", "quality", "error", *self.buckets.columns}
        table = self._read(part, sorted(wanted), with_errors=self.keeps_errors)
        is_scored_N = table["quality"].is_valid().to_numpy()
        keys = self._keys(part, table.filter(pa.array(is_scored_N)))
        is_kept_N = np.ones(len(table), np.bool_)
        is_kept_N[is_scored_N] = cuts.keep(keys)
        kept = table.filter(pa.array(is_kept_N)).select(list(columns))
        return kept, self._count(part, table, keys, cuts)

    def _count(self, part: Part, table: Any, keys: Keys, cuts: Cuts) -> Counts:
        cut_N = cuts.rank_B[keys.bucket_N]
        kept = int(cuts.keep(keys).sum())
        below = int((keys.rank_N < cut_N).sum())
        scored = len(keys.rank_N)
        counts = Counts(kept=kept, below=below, tied=scored - kept - below)
        if self.keeps_errors:
            counts.kept_errors = _count_values(table["error"])
            counts.excluded = part.rows - len(table)
        else:
            counts.errors = Counter(part.errors)
            counts.excluded = part.scored - scored
        return counts

    def _keys(self, part: Part, scored: Any) -> Keys:
        quality_N = scored["quality"].to_numpy()
        index_N = scored["index"].to_numpy()
        return Keys(
            bucket_N=self.buckets.codes(part, scored),
            rank_N=rank(quality_N),
            tie_N=tie_hashes(part.shard, index_N),
        )

    def _read(self, part: Part, columns: Sequence[str], *, with_errors: bool) -> Any:
        url = join(self.url, part.name)
        conditions = [] if with_errors else [pc.field("quality").is_valid()]
        conditions += [] if self.where is None else [self.where]
        where = None
        for condition in conditions:
            where = condition if where is None else where & condition
        table = read(url, columns, where)
        expected = part.rows if with_errors else part.scored
        if len(table) > expected or (self.where is None and len(table) < expected):
            raise AnnotationError(
                f"{redact(url)}: its footer counts {expected:,} such rows, it has {len(table):,}; "
                "see `shardsift verify`"
            )
        if not _is_finite(table["quality"].to_numpy()):
            raise AnnotationError(
                f"{redact(url)}: has a quality that is not finite; see `shardsift verify`"
            )
        return table


def _is_finite(quality_N: NDArray[np.float32]) -> bool:
    return not np.isinf(quality_N).any()


def _count_values(column: Any) -> Counter[str]:
    counted = column.drop_null().cast(pa.string()).value_counts()
    return Counter({item["values"]: item["counts"] for item in counted.to_pylist()})
