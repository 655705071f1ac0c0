"""From annotations to what is kept of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shardsift.annotations.folder import find_annotations
from shardsift.annotations.sketch import shortest
from shardsift.annotations.survey import Part, Survey, survey
from shardsift.config.filter import QUALITY, FilterConfig
from shardsift.errors import AnnotationError, InputError
from shardsift.filter.database import Database
from shardsift.filter.documents import BucketCounts, FilterSummary, JoinCounts, UidCounts, Value
from shardsift.filter.imported import imported, is_plain
from shardsift.filter.output import KeptFolder
from shardsift.filter.rows import THREADS, Rows, read_part
from shardsift.filter.selection import BucketKey, Counts, Selection
from shardsift.filter.tables import joined_tables
from shardsift.filter.uids import UidWriter
from shardsift.threads import Track, map_ordered, no_track

_KEPT_COLUMNS = ("key", "index", "uid", "quality")


@dataclass(frozen=True, kw_only=True, slots=True)
class Threshold:
    """Threshold of a filter: kept rows are at or above it.

    Attributes:
        value: the lowest one kept, of what the filter goes by; None if each of `buckets` has its
            own, or chance decides.
        rank_error: how far off its rank may be, 0..1; None if it is exact.
    """

    value: Value
    rank_error: float | None = None
    buckets: Sequence[BucketCounts] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterResult:
    """Result of a filter.

    `counts` are None if rows were not read: a dry run with approximate. `uids` are the counts
    of the subset file, if one was asked for.
    """

    survey: Survey
    threshold: Threshold
    counts: Counts | None = None
    matches: Sequence[JoinCounts] = ()
    uids: UidCounts | None = None


def curate(config: FilterConfig, track: Track = no_track) -> FilterResult:
    """Keep what `config` asks for.

    Raises:
        UserError: for what a person has to mend; no output is left behind then.
        AnnotationError: if a file isn't one of ours, or a damaged one.
    """
    with ExitStack() as stack:
        url = config.annotations
        source = None if is_plain(url) else find_annotations(url)
        folder = None
        if config.output is not None and not config.dry_run:
            folder = KeptFolder(config.output, url, overwrite=config.overwrite)
        if source:
            found = survey(source, allow_missing=config.allow_missing, track=track)
        else:
            found = stack.enter_context(imported(url))
        least = config.least
        threshold = _approximate(config, found) if config.approximate else None
        if threshold and folder is None:
            return FilterResult(survey=found, threshold=threshold)
        if least is not None and config.by == QUALITY:
            _check_range(least, found)
        tables = joined_tables(config.join, config.on, config.exclude)
        files = chain.from_iterable(table.files for table in tables)
        database = stack.enter_context(Database(files))
        rows = Rows(config, found, database, tables)
        if folder:
            stack.enter_context(folder.writing())
        rows.read(track)
        selection = Selection(database, rows.kind)
        if threshold:
            least = float(threshold.value or 0.0)
        if least is not None:
            value = selection.keep_from(least)
            threshold = threshold or Threshold(value=value)
        else:
            threshold = _keep_best(config, found, rows, selection)
        return _write(config, found, threshold, rows, selection, folder, database, track)


def _approximate(config: FilterConfig, found: Survey) -> Threshold:
    """Find the threshold from the sketches in the footers."""
    (wanted,) = _share(config, found, {0: found.scored}).values()
    # Half a row further: between ranks, so that rounding can't choose the row beside it.
    quantiles = found.quality.quantiles([1 - (wanted - 0.5) / found.scored])
    assert quantiles is not None, "there are scored rows"
    error = found.quality.rank_error
    error = error and error + 0.5 / found.scored
    return Threshold(value=shortest(quantiles[0]), rank_error=error)


def _keep_best(config: FilterConfig, found: Survey, rows: Rows, selection: Selection) -> Threshold:
    """Keep the share or the number that is asked for. Raises InputError if there is no such."""
    wanted = _share(config, found, selection.sizes)
    selection.keep_best(wanted)
    if not config.per:
        (value,) = selection.thresholds.values()
        return Threshold(value=None if config.random is not None else value)
    buckets = [
        BucketCounts(
            name=rows.name_of(bucket, [*selection.sizes]),
            rows=size,
            kept=wanted[bucket],
            threshold=selection.thresholds.get(bucket),
        )
        for bucket, size in selection.sizes.items()
    ]
    return Threshold(value=None, buckets=buckets)


def _write(
    config: FilterConfig,
    found: Survey,
    threshold: Threshold,
    rows: Rows,
    selection: Selection,
    folder: KeptFolder | None,
    database: Database,
    track: Track,
) -> FilterResult:
    """Count all rows, and write those that are kept."""
    errors = sum((Counter(part.errors) for part in found.parts), Counter[str]())
    counts = selection.count(errors)
    assert counts.rows == found.rows, "every row is counted once"
    _check_kept(config, found, counts)
    outcome = FilterResult(survey=found, threshold=threshold, counts=counts, matches=rows.matches)
    if folder is None:
        return outcome
    folder.begin(config.rule(), config.emit, threshold.value, found)
    uids = UidWriter(database) if "uids" in config.emit else None

    def write(item: tuple[Part, NDArray[np.int32]]) -> Any:
        part, index_N = item
        table = read_part(found, part, _KEPT_COLUMNS)
        places_N = np.searchsorted(table["index"].to_numpy(), index_N)
        table = table.take(pa.array(places_N.clip(max=len(table) - 1)))
        if not np.array_equal(table["index"].to_numpy(), index_N):
            raise AnnotationError(
                f"{found.url}: rows of {part.name} are out of order; see `shardsift verify`"
            )
        if "keep-list" in config.emit:
            folder.add(part, table)
        return table["uid"]

    kept = zip(found.parts, selection.kept(len(found.parts)), strict=True)
    written = map_ordered(write, kept, THREADS)
    for column in track(written, "keeping", len(found.parts)):
        if uids:
            uids.add(column)
    if uids:
        outcome = replace(outcome, uids=_finish_uids(folder, uids, counts))
    folder.finish(summarise(config, outcome))
    return outcome


def _check_kept(config: FilterConfig, found: Survey, counts: Counts) -> None:
    if not counts.kept_in_all:
        raise InputError(
            f"{found.url}: keeps nothing: none of its {found.rows:,} rows {_conditions(config)} "
            "and reaches the threshold"
        )


def _check_range(quality: float, found: Survey) -> None:
    if found.quality.range is None:
        return
    low, high = (shortest(edge) for edge in found.quality.range)
    with np.errstate(over="ignore"):
        is_above = np.float32(quality) > np.float32(high)
    if is_above:
        raise InputError(
            f"min {quality:g} lies outside the data: no sample is so good; quality goes from "
            f"{low:g} to {high:g}"
        )


def _share(
    config: FilterConfig, found: Survey, sizes: Mapping[BucketKey, int]
) -> dict[BucketKey, int]:
    """Return how many rows of each bucket are kept. Raises InputError if that can't be done."""
    total = sum(sizes.values())
    if not total:
        raise InputError(
            f"{found.url}: keeps nothing: none of its {found.rows:,} rows {_conditions(config)}"
        )
    if config.keep_count is not None:
        wanted = dict.fromkeys(sizes, config.keep_count)
    else:
        assert config.keep_top is not None, "one of them is given"
        of = dict.fromkeys(sizes, found.rows) if config.of == "all" else sizes
        wanted = {bucket: round(config.keep_top * size) for bucket, size in of.items()}
    if any(wanted[bucket] > size for bucket, size in sizes.items()):
        raise InputError(
            f"{found.url}: can't keep {sum(wanted.values()):,} of its {found.rows:,} rows: only "
            f"{total:,} are left, each of which {_conditions(config)}; ask for less"
        )
    if not any(wanted.values()):
        raise InputError(
            f"{found.url}: keeps nothing: {config.keep_top:g} of {total:,} rows "
            f"is less than one{' in each bucket' if config.per else ''}"
        )
    return wanted


def _conditions(config: FilterConfig) -> str:
    """Name what rows have to fulfil before they are ranked."""
    conditions = ["has a score"]
    conditions += [f"has a value of {config.by}"] if config.by != QUALITY else []
    conditions += ["is not in --exclude"] if config.exclude else []
    conditions += [f"passes where {config.where!r}"] if config.where else []
    conditions += [f"is the best by {config.unique}"] if config.unique else []
    return " and ".join(conditions)


def _finish_uids(folder: KeptFolder, uids: UidWriter, counts: Counts) -> UidCounts:
    kept = counts.kept_in_all
    if not uids.added:
        raise InputError(
            f"{folder.url}: none of the {kept:,} kept samples has a uid of 32 hexadecimal "
            "digits, as DataComp's have; leave uids out of --emit"
        )
    written, sha256 = folder.add_uids(uids)
    return UidCounts(
        written=written,
        repeated=uids.added - written,
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
        excluded_by_list=counts.listed,
        duplicates=counts.duplicates,
        without_value=counts.valueless,
        errors=dict(sorted(counts.errors.items())),
        shards=len(found.parts),
        failed_shards=tuple(found.failed),
        missing_shards=tuple(found.missing),
        run_is_finished=found.is_finished,
        threshold=outcome.threshold.value,
        rank_error=outcome.threshold.rank_error,
        buckets=tuple(outcome.threshold.buckets),
        joined=tuple(outcome.matches),
        uids=outcome.uids,
        emitted=tuple(config.emit),
        rule=config.rule(),
        fingerprint=found.fingerprint,
    )
