"""The filter: from annotations to the kept rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shardsift.config.filter_settings import QUALITY, FilterConfig
from shardsift.errors import AnnotationError, ConfigError, InputError
from shardsift.filtering.database import Database
from shardsift.filtering.imported import imported, is_plain
from shardsift.filtering.joined_tables import joined_tables
from shardsift.filtering.kept_folder import (
    DROPPED,
    KEPT,
    FilterSummary,
    GroupCounts,
    KeptFolder,
    UidCounts,
    UidWriter,
    Value,
)
from shardsift.filtering.rows import THREADS, Rows, read_annotation
from shardsift.filtering.selection import GroupKey, Selection
from shardsift.outputs.beside import Beside, find_beside
from shardsift.outputs.output_folder import (
    AnnotatedShard,
    AnnotationSet,
    find_scores,
    read_annotation_set,
)
from shardsift.outputs.sketch import shortest
from shardsift.threads import Track, map_ordered, no_track

_KEPT_COLUMNS = ("key", "index", "uid", "quality")


@dataclass(frozen=True, slots=True)
class FilterResult:
    """Result of a filter.

    Attributes:
        annotations: files that were read.
        threshold: the lowest value that is kept; None if each group has its own, or chance
            decides.
        summary: counts of all rows, as in `_summary.json`: `kept`, `below_threshold` and others.
    """

    annotations: AnnotationSet = field(repr=False)
    threshold: Value
    summary: FilterSummary


def curate(config: FilterConfig, track: Track = no_track) -> FilterResult:
    """Filter by `config`.

    Raises:
        UserError: for a mistake of the user; no output remains then.
        AnnotationError: if a file isn't one of ours, or is damaged.
    """
    with ExitStack() as stack:
        url, folder = config.annotations, None
        source = None if is_plain(url) else find_scores(url)
        if config.output is not None and not config.dry_run:
            names = source.committed if source else set[str]()
            folder = KeptFolder(config.output, url, names, overwrite=config.overwrite)
        if source:
            found = read_annotation_set(source, allow_missing=config.allow_missing, track=track)
        else:
            found = stack.enter_context(imported(url))
        if "paths" in config.emit and found.folder.reading.kind != "pictures":
            raise ConfigError("--emit paths: is for folders of pictures; name keep-list or uids")
        tables = joined_tables(config.join, config.on, config.exclude)
        outputs = find_beside(config.beside, may_lack=config.allow_missing)
        database = stack.enter_context(Database(file for each in tables for file in each.files))
        rows = Rows(config, found, database, tables, outputs)
        if folder:
            stack.enter_context(folder.writing())
        rows.read(track)
        selection = Selection(database, rows.kind)
        errors = sum((Counter(annotated.errors) for annotated in found.shards), Counter[str]())
        summary = FilterSummary(
            rows=found.rows,
            **_choose(config, found, rows, selection),
            **selection.count(errors),
            shards=len(found.shards),
            failed_shards=tuple(found.failed),
            missing_shards=tuple(found.missing),
            run_is_finished=found.is_finished,
            joined=tuple(rows.matches),
            uids=None,
            emitted=tuple(config.emit),
            rule=config.rule(),
            fingerprint=found.fingerprint,
        )
        assert summary.counted == found.rows, "every row is counted once"
        scored = summary.kept - sum(summary.kept_without_score.values())
        if not scored and (summary.below_threshold or not summary.kept):
            problem = f"none of its {found.rows:,} rows {_conditions(config)} and reaches the "
            problem += f"threshold{_range(found) if config.by == QUALITY else ''}"
            raise InputError(f"{url}: keeps nothing: {problem}")
        if folder:
            summary = _write(config, found, summary, selection, folder, database, outputs, track)
        return FilterResult(found, summary.threshold, summary)


def _choose(
    config: FilterConfig, found: AnnotationSet, rows: Rows, selection: Selection
) -> dict[str, Any]:
    """Find the threshold of all rows, or of each group. Raises InputError if there is none."""
    if config.least is not None:
        return {"threshold": selection.keep_from(config.least), "groups": ()}
    wanted = _share(config, found, selection.sizes)
    selection.keep_best(wanted)
    lowest = selection.thresholds
    if not config.per:
        chance = config.random is not None
        return {"threshold": None if chance else next(iter(lowest.values())), "groups": ()}
    names = {group: rows.name_of(group, [*wanted]) for group in wanted}
    groups = (
        GroupCounts(name=names[b], rows=size, kept=wanted[b], threshold=lowest.get(b))
        for b, size in selection.sizes.items()
    )
    return {"threshold": None, "groups": tuple(groups)}


def _share(
    config: FilterConfig, found: AnnotationSet, sizes: Mapping[GroupKey, int]
) -> dict[GroupKey, int]:
    """Return the number of rows to keep of each group. Raises InputError if there are too few."""
    total = sum(sizes.values())
    if not total:
        raise InputError(
            f"{found.url}: keeps nothing: none of its {found.rows:,} rows {_conditions(config)}"
        )
    if config.keep_count is not None:
        wanted = dict.fromkeys(sizes, config.keep_count)
    else:
        assert config.keep_top is not None, "one of them is given"
        wanted = {group: round(config.keep_top * size) for group, size in sizes.items()}
    if any(wanted[group] > size for group, size in sizes.items()):
        raise InputError(
            f"{found.url}: can't keep {sum(wanted.values()):,} of its {found.rows:,} rows: only "
            f"{total:,} are left, each of which {_conditions(config)}; choose a smaller number"
        )
    if not any(wanted.values()):
        raise InputError(
            f"{found.url}: keeps nothing: {config.keep_top:g} of {total:,} rows "
            f"is less than one{' in each group' if config.per else ''}"
        )
    return wanted


def _conditions(config: FilterConfig) -> str:
    """Describe the conditions that rows have to meet before they are ranked."""
    conditions = ["has a score"]
    conditions += [f"has a value of {config.by}"] if config.by != QUALITY else []
    conditions += ["is not in --exclude"] if config.exclude else []
    conditions += [f"passes where {config.where!r}"] if config.where else []
    conditions += [f"is the best by {config.unique}"] if config.unique else []
    return " and ".join(conditions)


def _range(found: AnnotationSet) -> str:
    if found.quality.range is None:
        return ""
    low, high = (shortest(edge) for edge in found.quality.range)
    return f"; quality goes from {low:g} to {high:g}"


def _write(
    config: FilterConfig,
    found: AnnotationSet,
    summary: FilterSummary,
    selection: Selection,
    folder: KeptFolder,
    database: Database,
    outputs: Sequence[Beside],
    track: Track,
) -> FilterSummary:
    """Write the rows that are kept; return the summary with the counts of uids and paths."""
    folder.begin(summary, found, outputs)
    uids = UidWriter(database) if "uids" in config.emit else None

    def write(item: tuple[AnnotatedShard, NDArray[np.int32]]) -> tuple[Any, Any]:
        annotated, index_N = item
        table = whole = read_annotation(found, annotated, _KEPT_COLUMNS)
        places_N = np.searchsorted(table["index"].to_numpy(), index_N)
        table = table.take(pa.array(places_N.clip(max=len(table) - 1)))
        if not np.array_equal(table["index"].to_numpy(), index_N):
            raise AnnotationError(
                f"{found.url}: rows of {annotated.name} are out of order; see `shardsift verify`"
            )
        if "keep-list" in config.emit:
            folder.add(annotated, table)
        return table, whole

    kept = zip(found.shards, selection.kept(len(found.shards)), strict=True)
    written = map_ordered(write, kept, THREADS)
    with ExitStack() as stack:
        paths = None
        if "paths" in config.emit:
            paths = stack.enter_context(folder.open_paths(ends_with_null=config.null))
        for table, whole in track(written, "keeping", len(found.shards)):
            if uids:
                uids.add(table["uid"])
            if paths:
                keys: set[str] = {*table["key"].to_pylist()}
                paths.add(KEPT, table["key"].to_pylist())
                paths.add(DROPPED, [key for key in whole["key"].to_pylist() if key not in keys])
    if paths:
        summary = summary.model_copy(update={"paths": paths.counts})
    if uids:
        counts = _commit_uids(uids, folder, summary)
        summary = summary.model_copy(update={"uids": counts})
    folder.finish(summary)
    return summary


def _commit_uids(uids: UidWriter, folder: KeptFolder, summary: FilterSummary) -> UidCounts:
    """Write the uids of the kept samples. Raises InputError if there are none."""
    if not uids.added:
        raise InputError(
            f"{folder.url}: none of the {summary.kept:,} kept samples has a uid of 32 "
            "hexadecimal digits, as DataComp's have; leave uids out of --emit"
        )
    number, sha256 = folder.add_uids(uids)
    return UidCounts(
        written=number,
        repeated=uids.added - number,
        without_uid=summary.kept - uids.added,
        sha256=sha256,
    )
