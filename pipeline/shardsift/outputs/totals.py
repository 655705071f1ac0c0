"""Counts and quantiles of a folder of annotations, from metadata alone: no row is read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from shardsift.outputs.beside import find_beside
from shardsift.outputs.manifest import QUANTILE_RANKS, Totals
from shardsift.outputs.output_folder import (
    OutputFolder,
    annotated_shard,
    find_annotations,
    without_annotation,
)
from shardsift.outputs.sketch import shortest
from shardsift.records import ShardReport
from shardsift.shards.names import annotation_name
from shardsift.shards.plan import shard_prefixes
from shardsift.threads import Track, no_track


@dataclass(kw_only=True, slots=True)
class GroupTotals(Totals):
    """Some shards together."""

    name: str

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON. Quantiles are named by their ranks; null if nothing is scored."""
        values, span = self.quality.quantiles(QUANTILE_RANKS), self.quality.range
        names = [f"{rank:g}" for rank in QUANTILE_RANKS]
        return {
            "name": self.name,
            "shards": self.shards,
            "rows": self.rows,
            "scored": self.scored,
            "errors": dict(sorted(self.errors.items())),
            "passed_over": dict(sorted(self.passed_over.items())),
            "quality_range": span and [shortest(edge) for edge in span],
            "quality_quantiles": values
            and {name: shortest(value) for name, value in zip(names, values, strict=True)},
            "rank_error": self.quality.rank_error,
            "columns": {
                name: {
                    "mean": spread.mean,
                    "deviation": spread.deviation,
                    "range": [shortest(spread.lowest), shortest(spread.highest)],
                }
                for name, spread in sorted(self.spreads.items())
            },
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Stats:
    """A folder of annotations in all, and by group of shards."""

    total: GroupTotals
    groups: Sequence[GroupTotals]
    failed: Sequence[str]
    missing: Sequence[str]
    is_finished: bool

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return self.total.as_dict() | {
            "run_is_finished": self.is_finished,
            "failed_shards": list(self.failed),
            "missing_shards": list(self.missing),
            "groups": [group.as_dict() for group in self.groups],
        }


def read_stats(url: str, beside: Sequence[str] = (), track: Track = no_track) -> Stats:
    """Add up the manifest of a finished run, else the footers of all files.

    Outputs that stand `beside` it add their columns.

    Raises:
        InputError: if there are no annotations, or an output stands beside others.
        AnnotationError: if a file isn't one of ours.
    """
    folder = find_annotations(url)
    prefixes = shard_prefixes(map(folder.shard_of, folder.committed))
    total, groups = GroupTotals(name=url), dict[str, GroupTotals]()
    for report in track(_reports(folder), "reading annotations", len(folder.committed)):
        prefix = prefixes[report.shard]
        for group in (total, groups.setdefault(prefix, GroupTotals(name=prefix))):
            group.add(report)
    outputs = find_beside(beside)
    names = sorted(folder.committed) if outputs else []
    for footer in track(folder.read_footers(names), "comparing rows", len(names)):
        annotated = annotated_shard(annotation_name(footer.shard.path), footer)
        for report in filter(None, (output.report(annotated) for output in outputs)):
            total.add_spreads(report.spreads)
            groups[prefixes[annotated.shard]].add_spreads(report.spreads)
    failed, missing = without_annotation(folder)
    return Stats(
        total=total,
        groups=[groups[name] for name in sorted(groups)],
        failed=failed,
        missing=missing,
        is_finished=folder.is_finished,
    )


def _reports(folder: OutputFolder) -> Iterable[ShardReport]:
    """Yield the reports of all annotations; the manifest is outdated while a run continues."""
    names = sorted(folder.committed)
    if folder.is_finished:
        folder.check_manifest()
        return folder.reports(names)
    return (footer.report for footer in folder.read_footers(names))
