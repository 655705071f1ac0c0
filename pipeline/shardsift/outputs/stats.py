"""Counts and quantiles of a folder of annotations, from metadata alone: no row is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from shardsift.outputs.folder import OutputFolder, find_annotations
from shardsift.outputs.manifest import QUANTILE_RANKS
from shardsift.outputs.sketch import QuantileMerger, shortest
from shardsift.outputs.survey import without_annotation
from shardsift.records import ShardReport, Spread
from shardsift.shards.plan import shard_prefixes
from shardsift.storage.files import ANNOTATION_SUFFIX, SHARD_SUFFIX
from shardsift.threads import Track, no_track


@dataclass(kw_only=True, slots=True)
class Group:
    """Some shards together."""

    name: str
    shards: int = 0
    rows: int = 0
    errors: Counter[str] = field(default_factory=Counter[str])
    passed_over: Counter[str] = field(default_factory=Counter[str])
    quality: QuantileMerger = field(default_factory=QuantileMerger)
    attributes: dict[str, Spread] = field(default_factory=dict[str, Spread])

    def add(self, report: ShardReport) -> None:
        """Count one more shard."""
        self.shards += 1
        self.rows += report.rows
        self.errors.update(report.errors)
        self.passed_over.update(report.passed_over)
        self.quality.add(report.sketch)
        for name, spread in report.attributes.items():
            known = self.attributes.get(name)
            self.attributes[name] = known + spread if known else spread

    @property
    def scored(self) -> int:
        """Rows that have a quality."""
        return self.rows - self.errors.total()

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
            "attributes": {
                name: {
                    "mean": spread.mean(self.scored),
                    "deviation": spread.deviation(self.scored),
                    "range": [shortest(spread.lowest), shortest(spread.highest)],
                }
                for name, spread in sorted(self.attributes.items())
            },
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Stats:
    """A folder of annotations in all, and by the prefix of its shards."""

    total: Group
    prefixes: Sequence[Group]
    failed: Sequence[str]
    missing: Sequence[str]
    is_finished: bool

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return self.total.as_dict() | {
            "run_is_finished": self.is_finished,
            "failed_shards": list(self.failed),
            "missing_shards": list(self.missing),
            "prefixes": [group.as_dict() for group in self.prefixes],
        }


def read_stats(url: str, track: Track = no_track) -> Stats:
    """Add up what the manifest of a finished run says, else the footers of all files.

    Raises:
        InputError: if there are no annotations.
        AnnotationError: if a file isn't one of ours.
    """
    folder = find_annotations(url)
    names = (name.removesuffix(ANNOTATION_SUFFIX) for name in folder.committed)
    prefixes = shard_prefixes(name + SHARD_SUFFIX for name in names)
    total, groups = Group(name=url), dict[str, Group]()
    for report in track(_reports(folder), "reading annotations", len(folder.committed)):
        prefix = prefixes[report.shard]
        for group in (total, groups.setdefault(prefix, Group(name=prefix))):
            group.add(report)
    failed, missing = without_annotation(folder)
    return Stats(
        total=total,
        prefixes=[groups[name] for name in sorted(groups)],
        failed=failed,
        missing=missing,
        is_finished=folder.is_finished,
    )


def _reports(folder: OutputFolder) -> Iterable[ShardReport]:
    """Yield the reports of all annotations; a run that goes on makes its manifest out of date."""
    names = sorted(folder.committed)
    if folder.is_finished:
        folder.check_manifest()
        return folder.reports(names)
    return (footer.report for footer in folder.read_footers(names))
