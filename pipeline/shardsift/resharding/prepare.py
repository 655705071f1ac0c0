"""From a keep-list, its annotations and their shards to a plan: do they belong together?"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shardsift.config import did_you_mean
from shardsift.config.verb_settings import ReshardConfig
from shardsift.errors import ConfigError, InputError, OutputError, ShardError
from shardsift.filtering.kept_folder import KEEP_LIST, Filtered, read_filtered
from shardsift.outputs.output_folder import OutputFolder, find_scores
from shardsift.outputs.run_folder import check_apart, check_output, local_folder
from shardsift.outputs.sealed_table import schema_of
from shardsift.records import ShardTask
from shardsift.redaction import reason
from shardsift.resharding.new_shard import KeptOfShard, ReshardInputs, check_source, read_matching
from shardsift.resharding.packing import Packer, ReshardPlan
from shardsift.resharding.repacked import repacked_size
from shardsift.resharding.reshard_folder import ReshardFolder, ReshardIntent
from shardsift.shards.parquet_rows import opened
from shardsift.shards.plan import ShardPlan, plan_shards
from shardsift.shards.tars import BLOCK
from shardsift.storage.files import absolute, followed, is_annotation, join, list_files
from shardsift.storage.finding import lone_folder
from shardsift.threads import Track, map_ordered, no_track

_THREADS = 32
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Reshard:
    """A reshard that passed its checks; `missing` are shards that were never scored."""

    config: ReshardConfig
    folder: ReshardFolder
    intent: ReshardIntent
    plan: ReshardPlan
    inputs: ReshardInputs
    missing: Sequence[str]


def prepare(config: ReshardConfig, track: Track = no_track) -> Reshard:
    """Check that inputs belong together and the output can be written, and make the plan.

    Changes nothing on disk, except for a probe that it removes.

    Raises:
        UserError: with one line that says what to do.
        AnnotationError: if a file of the annotations or of the keep-list is damaged.
    """
    if config.output is None:
        raise ConfigError("no --output; name a folder or URL for the new shards")
    filtered = read_filtered(config.keep)
    recorded = filtered.record.annotations
    scores = find_scores(config.annotations or followed(recorded, "--annotations"))
    names = sorted(filter(is_annotation, list_files(join(config.keep, KEEP_LIST))))
    if not names:
        raise InputError(f"{config.keep}: has no keep-list; filter with --emit keep-list")
    known = schema_of(scores.contents).names
    for name in config.merged:
        if name not in known:
            hint = did_you_mean(name, known, f"there are {', '.join(known)}")
            raise ConfigError(f"--annotate-columns {name}: no such column; {hint}")
    sources, missing = _find_sources(config, scores, names, filtered)
    check_apart(config.output, scores.url)
    check_output(config.output, {*sources.folders, sources.root})
    folder = ReshardFolder(config.output)
    samples, size = config.limits()
    intent = ReshardIntent(
        samples_per_shard=samples,
        bytes_per_shard=size,
        to=config.to,
        columns=config.merged,
        keep_list=filtered.digest,
        fingerprint=filtered.record.fingerprint,
        root=sources.root,
        keep=absolute(filtered.url),
        annotations=absolute(scores.url),
    )
    folder.claim(intent, overwrite=config.overwrite)
    inputs = ReshardInputs(
        filtered=filtered,
        annotations=scores.annotations,
        columns=config.merged,
        reading=scores.reading,
        to=config.to,
        in_place=scores.record is not None and not scores.has_moved(sources),
    )
    plan = folder.plan or _plan(config.output, sources.root, inputs, intent, names, track)
    _check_room(folder, plan)
    return Reshard(
        config=config, folder=folder, intent=intent, plan=plan, inputs=inputs, missing=missing
    )


def _find_sources(
    config: ReshardConfig, scores: OutputFolder, names: Sequence[str], filtered: Filtered
) -> tuple[ShardPlan, Sequence[str]]:
    """Find the shards that were filtered, and name those among them that never were scored.

    Raises:
        InputError: if other shards are given than were filtered.
    """
    if config.to == "parquet" and scores.reading.kind != "parquet":
        raise ConfigError(
            f"--to parquet: {config.keep} keeps samples of {scores.reading.kind}, and only rows of "
            "Parquet files become Parquet"
        )
    plan = _plan_sources(config.shards, scores)
    if record := scores.record:
        if plan.lies_below(record.root):
            plan = plan.below(record.root)
        elif folder := lone_folder(config.shards):
            plan = scores.plan_moved_to(folder)
    wanted, without = set(names), set(filtered.without)
    strangers: list[str] = []
    missing: list[str] = []
    for task in plan:
        if task.annotation in wanted:
            wanted.remove(task.annotation)
        elif task.shard in without:
            missing.append(task.shard)
        else:
            strangers.append(task.shard)
    if strangers:
        raise InputError(
            f"{config.keep}: a keep-list of other shards: it doesn't have {_some(strangers)}"
        )
    if wanted:
        raise InputError(
            f"{plan.root}: {len(wanted):,} shards of the keep-list are missing: "
            f"{_some(sorted(wanted))}; name all shards that were filtered"
        )
    return plan, missing


def _plan_sources(shards: Sequence[str], scores: OutputFolder) -> ShardPlan:
    """Plan the shards that are named, else those that the run recorded."""
    if shards:
        return plan_shards(shards, scores.reading)
    try:
        return plan_shards(scores.record.patterns() if scores.record else (), scores.reading)
    except InputError as error:
        raise InputError(f"{error}; if they have moved, name their folder: --shards DIR") from error


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


@dataclass(frozen=True, slots=True)
class _Kept:
    """Kept samples of a source shard, their bytes, and problems of the shard."""

    kept: KeptOfShard
    sizes_N: Sequence[int]
    trouble: str | None


def _plan(
    output: str,
    root: str,
    inputs: ReshardInputs,
    intent: ReshardIntent,
    names: Sequence[str],
    track: Track,
) -> ReshardPlan:
    schemas: dict[str, Any] = {}

    def look(name: str) -> _Kept:
        kept = read_matching(name, inputs, ["key", "tar_offset", "tar_size"])
        if not len(kept.index_N):
            return _Kept(kept, [], None)
        url, trouble = join(root, kept.scored.path), None
        source = ShardTask(url=url, shard=kept.scored.path, annotation="", reading=inputs.reading)
        try:
            check_source(source, kept.scored, in_place=inputs.in_place)
            if inputs.to == "parquet":
                with opened(url) as parquet:
                    schemas[source.shard] = parquet.schema_arrow
        except ShardError as error:
            trouble = str(error)
        except (OSError, pa.ArrowException) as error:
            trouble = f"{url}: not readable Parquet: {reason(error)}"
        if inputs.copies:
            sizes_N = _sizes_in_tar(kept)[kept.index_N].tolist()
        else:
            sizes = kept.rows["tar_size"].take(kept.index_N).to_pylist()
            sizes_N = [repacked_size(size) for size in sizes]
        return _Kept(kept, sizes_N, trouble)

    packer = Packer(max_samples=intent.samples_per_shard, max_bytes=intent.bytes_per_shard)
    troubles: list[str] = []
    for found in track(map_ordered(look, names, _THREADS), "planning", len(names)):
        kept = found.kept
        keys = kept.keys if inputs.copies else None
        packer.add(kept.scored.path, kept.index_N, keys, found.sizes_N)
        if found.trouble:
            troubles.append(found.trouble)
    if troubles:
        more = f" ({len(troubles):,} such shards)" if len(troubles) > 1 else ""
        raise InputError(f"{troubles[0]}{more}")
    _check_schemas(schemas)
    return packer.plan(root, output, intent.form)


def _sizes_in_tar(kept: KeptOfShard) -> NDArray[np.int64]:
    """Estimate the bytes of all samples of a tar by the places of their images."""
    offsets = kept.rows["tar_offset"].to_pylist()
    known = [(place, offset) for place, offset in enumerate(offsets) if offset is not None]
    places = [*(place for place, _ in known), len(offsets)]
    begins = [*(offset - BLOCK for _, offset in known), kept.scored.size - 2 * BLOCK]
    if not known or places[0] != 0:
        places, begins = [0, *places], [0, *begins]
    bounds = np.interp(np.arange(len(offsets) + 1), places, begins)
    return np.maximum(np.diff(bounds), BLOCK).astype(np.int64)


def _check_schemas(schemas: Mapping[str, Any]) -> None:
    """Refuse Parquet files of two schemas, whose rows don't fit one file. Raises InputError."""
    names = sorted(schemas)
    for name in names[1:]:
        one, other = schemas[names[0]], schemas[name]
        if not one.equals(other):
            differ = [field.name for field in one if field not in list(other)]
            differ += [field.name for field in other if field.name not in one.names]
            raise InputError(
                f"{names[0]} and {name}: their columns differ ({', '.join(differ) or 'in order'}); "
                "reshard them apart"
            )


def _check_room(folder: ReshardFolder, plan: ReshardPlan) -> None:
    local = local_folder(folder.url)
    if local is None:
        return
    while not local.exists():
        local = local.parent
    needed = sum(task.bytes for task in plan if task.shard not in folder.committed)
    free = shutil.disk_usage(local).free
    if needed > free:
        raise OutputError(
            f"{folder.url}: the shards take about {needed / 1e6:,.0f} MB, and "
            f"{free / 1e6:,.0f} MB are free there; make room, or choose another --output"
        )
