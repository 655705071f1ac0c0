"""The JSON files of `filter`."""

from __future__ import annotations

from typing import Any

from shardsift.documents import Document

Value = int | float | None
"""A value that a filter ranks by; None for none."""


class FilterRecord(Document):
    """`_filter.json`: the rule that all keep-lists of its folder were chosen by.

    `annotations` are those that were filtered, of shards below `root`; `fingerprint` is theirs;
    `beside` are the outputs of `--with`; `emitted` is what was to be written.
    """

    annotations: str
    beside: tuple[str, ...]
    root: str
    fingerprint: str
    rule: dict[str, Any]
    threshold: Value
    emitted: tuple[str, ...]


class BucketCounts(Document):
    """One of `--per`: rows it may keep, how many of them are kept, and the lowest value kept."""

    name: str
    rows: int
    kept: int
    threshold: Value


class UidCounts(Document):
    """Counts of `uids.npy`: uids written and left out; and its SHA-256."""

    written: int
    repeated: int
    without_uid: int
    sha256: str


class JoinCounts(Document):
    """Counts of a table: annotations that it has, its own rows, and those of these that match."""

    table: str
    on: str
    rows: int
    table_rows: int
    table_rows_found: int


class FilterSummary(Document):
    """`_summary.json`: what became of every row, and by which rule.

    kept                 with a score, and without (`kept_without_score`, by error code)
    below_threshold      worse than the threshold
    tied_at_threshold    as good as the threshold, and yet one too many
    without_value        of what the filter goes by
    errors               dropped for want of a score, by error code
    """

    rows: int
    kept: int
    kept_without_score: dict[str, int]
    below_threshold: int
    tied_at_threshold: int
    excluded_by_where: int
    excluded_by_list: int
    duplicates: int
    without_value: int
    errors: dict[str, int]
    shards: int
    failed_shards: tuple[str, ...]
    missing_shards: tuple[str, ...]
    run_is_finished: bool
    threshold: Value
    rank_error: float | None
    buckets: tuple[BucketCounts, ...]
    joined: tuple[JoinCounts, ...]
    uids: UidCounts | None
    emitted: tuple[str, ...]
    rule: dict[str, Any]
    fingerprint: str

    @property
    def counted(self) -> int:
        """All rows, by the counts of what became of them."""
        ranked = self.kept + self.below_threshold + self.tied_at_threshold
        left_out = self.excluded_by_where + self.excluded_by_list + self.duplicates
        return ranked + left_out + self.without_value + sum(self.errors.values())
