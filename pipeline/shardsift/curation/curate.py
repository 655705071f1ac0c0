"""From annotations to what is kept of them."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shardsift.annotations.folder import find_annotations
from shardsift.annotations.survey import Part, Survey, survey
from shardsift.curation.buckets import make_buckets
from shardsift.curation.columns import Columns, Ranking
from shardsift.curation.documents import BucketCounts, FilterSummary, UidCounts
from shardsift.curation.duplicates import GroupColumn, finding_duplicates
from shardsift.curation.filter_config import QUALITY, FilterConfig
from shardsift.curation.joined import JoinedFiles
from shardsift.curation.kept import KeptFolder
from shardsift.curation.sieve import THREADS, Counts, Sieve
from shardsift.curation.threshold import Threshold, find_threshold
from shardsift.curation.uids import UidWriter, parse_uids
from shardsift.curation.where import Condition
from shardsift.errors import InputError
from shardsift.threads import Track, map_ordered, no_track

_KEPT_COLUMNS = ("key", "index", "uid", "quality")


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterResult:
    """What a filter found, and did.

    `counts` are None if rows were not read: a dry run with approximate. `uids` are the counts
    of the subset file, if one was asked for.
    """

    survey: Survey
    threshold: Threshold
    counts: Counts | None = None
    uids: UidCounts | None = None


def curate(config: FilterConfig, track: Track = no_track) -> FilterResult:
    """Keep what `config` asks for.

    Raises:
        UserError: for what a person has to mend; no output is left behind then.
        AnnotationError: if a file isn't one of ours, or a damaged one.
    """
    with ExitStack() as stack:
        source = find_annotations(config.annotations)
        folder = None
        if config.output is not None and not config.dry_run:
            folder = KeptFolder(config.output, config.annotations, overwrite=config.overwrite)
        found = survey(source, allow_missing=config.allow_missing, track=track)
        sieve = _make_sieve(config, found)
        if folder:
            stack.enter_context(folder.writing())
        if sieve.unique:
            finding = finding_duplicates(
                sieve.groups, found.parts, sieve.unique.name, track, THREADS
            )
            sieve = replace(sieve, duplicates=stack.enter_context(finding))
        threshold = find_threshold(config, found, sieve, track)
        if folder is None and config.approximate:
            return FilterResult(survey=found, threshold=threshold)
        return _write(config, found, threshold, sieve, folder, track)


def _make_sieve(config: FilterConfig, found: Survey) -> Sieve:
    """Find the columns that are named, and load those that are joined. Raises UserError."""
    files = JoinedFiles(config.join) if config.join else None
    columns = Columns(found.extras, files)
    by = Ranking(config.by, columns)
    where = Condition(config.where, columns.schema) if config.where is not None else None
    unique = GroupColumn(config.unique, columns) if config.unique else None
    named = {by.column, *(where.columns if where else ()), *([unique.name] if unique else [])}
    wanted = columns.joined(named)
    per = [config.per] if config.per else []
    joined = files.read(sorted({*wanted, *per})) if files else {}
    columns.load({name: joined[name] for name in wanted})
    return Sieve(
        annotations=found.folder.annotations,
        columns=columns,
        by=by,
        where=where,
        buckets=make_buckets(config.per, joined.get(config.per or ""), found.parts),
        unique=unique,
        keeps_errors=config.errors == "keep",
    )


def _write(
    config: FilterConfig,
    found: Survey,
    threshold: Threshold,
    sieve: Sieve,
    folder: KeptFolder | None,
    track: Track,
) -> FilterResult:
    """Read all rows once more, and write those that are kept."""
    if folder:
        folder.begin(config.rule(), config.emit, threshold.value, found)
    with_list = folder is not None and "keep-list" in config.emit
    with_uids = folder is not None and "uids" in config.emit

    columns = _KEPT_COLUMNS if with_list else ("uid",) if with_uids else ()

    def sift(part: Part) -> tuple[Counts, NDArray[np.uint64] | None]:
        rows, counts = sieve.sift(part, threshold.cuts, columns)
        if folder and with_list:
            folder.add(part, rows)
        return counts, parse_uids(rows["uid"]) if with_uids else None

    counts = Counts()
    with UidWriter() as uids:
        sifted = map_ordered(sift, found.parts, THREADS)
        for own, own_uids in track(sifted, "keeping" if folder else "counting", len(found.parts)):
            counts.add(own)
            if own_uids is not None:
                uids.add(own_uids)
        _check_kept(config, found, counts)
        told = _finish_uids(folder, uids, counts) if folder and with_uids else None
    assert counts.rows == found.rows, "every row is counted once"
    outcome = FilterResult(survey=found, threshold=threshold, counts=counts, uids=told)
    if folder:
        folder.finish(summarise(config, outcome))
    return outcome


def _check_kept(config: FilterConfig, found: Survey, counts: Counts) -> None:
    if not counts.kept_in_all:
        what = "" if config.by == QUALITY else f" of {config.by}"
        reason = f"no scored row reaches the threshold{what}"
        if config.where:
            reason += f" and passes where {config.where!r}"
        raise InputError(f"{found.url}: keeps nothing, for {reason}")


def _finish_uids(folder: KeptFolder, uids: UidWriter, counts: Counts) -> UidCounts:
    kept = counts.kept_in_all
    if not uids.added:
        raise InputError(
            f"{folder.url}: none of the {kept:,} kept samples has a uid of 32 hexadecimal "
            "digits, as DataComp's have; leave uids out of --emit"
        )
    sha256 = folder.add_uids(uids)
    return UidCounts(
        written=uids.written,
        repeated=uids.added - uids.written,
        without_uid=kept - uids.added,
        sha256=sha256,
    )


def summarise(config: FilterConfig, outcome: FilterResult) -> FilterSummary:
    """Return the fate of all rows, of a filter that has read them."""
    counts, found = outcome.counts, outcome.survey
    assert counts is not None, "all rows were read"
    return FilterSummary(
        rows=found.rows,
        kept=counts.kept_in_all,
        kept_without_score=dict(sorted(counts.kept_errors.items())),
        below_threshold=counts.below,
        tied_at_threshold=counts.tied,
        excluded_by_where=counts.excluded,
        duplicates=counts.duplicates,
        without_value=counts.valueless,
        errors=dict(sorted(counts.errors.items())),
        shards=len(found.parts),
        failed_shards=tuple(found.failed),
        missing_shards=tuple(found.missing),
        run_is_finished=found.is_finished,
        threshold=outcome.threshold.value,
        rank_error=outcome.threshold.rank_error,
        buckets=tuple(BucketCounts(**asdict(each)) for each in outcome.threshold.buckets),
        uids=outcome.uids,
        emitted=tuple(config.emit),
        rule=config.rule(),
        fingerprint=found.fingerprint,
    )
