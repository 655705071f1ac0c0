"""What lies in a folder of annotations, from listing, manifest and footers: no row is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from shardsift.config import Extras
from shardsift.errors import InputError
from shardsift.outputs.folder import MANIFEST, OutputFolder, failed_name
from shardsift.outputs.manifest import read_outcomes
from shardsift.outputs.sealed_table import Footer
from shardsift.outputs.sketch import QuantileMerger
from shardsift.shards.names import annotation_name
from shardsift.storage.files import FAILED_FOLDER, SHARD_SUFFIX, join
from shardsift.threads import Track, no_track


@dataclass(frozen=True, slots=True)
class Part:
    """An annotation file, what its footer counts, and the digest of its rows."""

    name: str
    shard: str
    rows: int
    errors: Mapping[str, int]
    passed_over: Mapping[str, int]
    digest: str

    @property
    def scored(self) -> int:
        """Rows that have a quality."""
        return self.rows - sum(self.errors.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """All annotations of a folder; `failed` and `missing` are names of shards without any."""

    folder: OutputFolder
    fingerprint: str
    extras: Extras
    parts: Sequence[Part]
    quality: QuantileMerger
    failed: Sequence[str]
    missing: Sequence[str]
    is_finished: bool

    @property
    def url(self) -> str:
        """Where they lie."""
        return self.folder.url

    @property
    def root(self) -> str:
        """The folder that names of shards are relative to, as it was called when they were scored.

        Empty if nothing has recorded it.
        """
        return self.folder.record.root if self.folder.record else ""

    @property
    def rows(self) -> int:
        """Of all annotation files."""
        return sum(part.rows for part in self.parts)

    @property
    def scored(self) -> int:
        """Rows that have a quality."""
        return sum(part.scored for part in self.parts)

    @property
    def passed_over(self) -> Counter[str]:
        """Counts by `PassedOver`."""
        return sum((Counter(part.passed_over) for part in self.parts), Counter[str]())


def survey(folder: OutputFolder, *, allow_missing: bool = False, track: Track = no_track) -> Survey:
    """Look at all annotation files of a folder that has some.

    Raises:
        InputError: if some are missing, or they were made with two configurations.
        AnnotationError: if a file isn't one of ours.
    """
    names = sorted(folder.committed)
    failed, missing = without_annotation(folder)
    if not allow_missing:
        _check_complete(folder, missing)
    parts: list[Part] = []
    quality = QuantileMerger()
    footers = iter(track(folder.read_footers(names), "reading footers", len(names)))
    first = next(footers)
    for name, footer in zip(names, chain([first], footers), strict=True):
        _check_alike(folder.url, names[0], first, name, footer)
        report = footer.report
        counts = (report.rows, report.errors, report.passed_over)
        parts.append(Part(name, footer.shard.path, *counts, report.digest))
        quality.add(report.sketch)
    return Survey(
        folder=folder,
        fingerprint=first.fingerprint,
        extras=first.extras,
        parts=parts,
        quality=quality,
        failed=failed,
        missing=missing,
        is_finished=folder.is_finished,
    )


def without_annotation(folder: OutputFolder) -> tuple[list[str], list[str]]:
    """List the shards that were given up, and those that only the manifest knows."""
    if MANIFEST not in folder.files:
        prefix, suffix = f"{FAILED_FOLDER}/", ".json"
        names = sorted(name.removeprefix(prefix).removesuffix(suffix) for name in folder.failed)
        shards = [name + SHARD_SUFFIX for name in names]
        return [s for s in shards if annotation_name(s) not in folder.committed], []
    failed: list[str] = []
    missing: list[str] = []
    for shard, report in read_outcomes(join(folder.url, MANIFEST)):
        if annotation_name(shard) not in folder.committed:
            is_failed = report is None or failed_name(shard) in folder.failed
            (failed if is_failed else missing).append(shard)
    return failed, missing


def _check_complete(folder: OutputFolder, missing: Sequence[str]) -> None:
    url = folder.url
    if missing:
        name = annotation_name(missing[0])
        raise InputError(
            f"{url}: {len(missing):,} annotation files are missing, such as {name}; run `shardsift "
            "score` again, or leave their shards out with --allow-missing"
        )
    if not folder.is_finished:
        raise InputError(
            f"{url}: no run has come to its end here ({len(folder.committed):,} shards so far); "
            "run `shardsift score` again, or leave the others out with --allow-missing"
        )


def _check_alike(url: str, first: str, one: Footer, other: str, two: Footer) -> None:
    if one.fingerprint != two.fingerprint:
        raise InputError(
            f"{url}: made with two configurations, whose scores can't be compared: {first} "
            f"has fingerprint {one.fingerprint}, {other} has {two.fingerprint}; score the shards "
            "of one of them again"
        )
    if one.extras != two.extras:
        raise InputError(
            f"{url}: {first} and {other} have other attributes, hashes or embeddings; score the "
            "shards of one of them again"
        )
