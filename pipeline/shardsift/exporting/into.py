"""Copies of Parquet files with columns of annotations, a file for each."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from shardsift.config.verb_settings import ExportConfig
from shardsift.errors import InputError, OutputError
from shardsift.exporting.matching import (
    ROW,
    Aligned,
    Annotations,
    Matcher,
    Target,
    find_targets,
    own_shards,
)
from shardsift.filtering.joined_tables import is_parquet
from shardsift.outputs.output_folder import AnnotatedShard
from shardsift.outputs.run_folder import RunFolder, check_apart, check_output
from shardsift.outputs.sealed_table import METADATA_PREFIX, read_metadata, schema_of
from shardsift.redaction import reason
from shardsift.shards.parquet_rows import batches_of, opened, write_like
from shardsift.storage.files import absolute, committing, join
from shardsift.threads import Track, map_ordered

_THREADS = 4

MARK = "export"
"""Key of a copy's metadata, with our prefix: the annotations and columns, as JSON."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """Result of `export`: files and rows that were written, and rows with an annotation.

    `by` is `place`, or the keys by which rows were matched; empty for a table of all rows.
    """

    files: int
    rows: int
    matched: int
    by: str = ""


@dataclass(frozen=True, kw_only=True)
class Added:
    """Columns to add, by their names in annotations, and as the files get them."""

    annotations: Annotations
    prefix: str

    @property
    def schema(self) -> Any:
        """The fields that files get: text and bytes in types that every reader knows."""
        own = schema_of(self.annotations.contents, self.annotations.names)
        return pa.schema([pa.field(self.prefix + e.name, _plain_type(e.type)) for e in own])


def _plain_type(kind: Any) -> Any:
    if pa.types.is_dictionary(kind):
        return pa.string()
    return pa.binary() if pa.types.is_fixed_size_binary(kind) else kind


def export_into(
    config: ExportConfig, annotations: Annotations, output: str, track: Track
) -> Exported:
    """Write a copy of each file of `config.into` with the columns of its rows' annotations.

    Raises:
        UserError: if files can't be read or matched, or the output holds something else.
        AnnotationError: if an annotation file is damaged.
    """
    assert config.into, "checked by its config"
    root, targets = find_targets(config.into)
    check_apart(output, annotations.found.url)
    inputs = {annotations.found.root} if is_parquet(config.into) else {absolute(config.into)}
    check_output(output, {annotations.found.root, *inputs} - {""})
    if absolute(output).rstrip("/") == root:
        raise OutputError(f"{output}: holds the files to copy; choose another --output")
    added = Added(annotations=annotations, prefix=config.prefix)
    for target in targets:
        _check_names(target, added.schema.names)
    mark = {"annotations": absolute(annotations.found.url), "columns": added.schema.names}
    names = {target.name for target in targets}
    folder = _Folder(output, names, json.dumps(mark), overwrite=config.overwrite)
    shards = None if config.on else own_shards(targets, annotations.found)
    with folder.writing(), ExitStack() as stack:

        def write(pair: tuple[Target, Aligned]) -> None:
            _write(folder, added, *pair)

        rows = sum(target.rows for target in targets)
        matcher: Matcher | None = None
        if shards is not None:
            done = map_ordered(write, _by_place(targets, shards, added), _THREADS)
        else:
            matcher = stack.enter_context(Matcher(config.into, config.on, annotations))
            done = map(write, _by_key(targets, matcher, added, track))
        for _ in track(done, "exporting", len(targets)):
            pass
        by = matcher.on if matcher else "place"
        matched = matcher.matched if matcher else sum(each.rows for each in shards or () if each)
        if not matched:
            raise InputError(
                f"{config.into}: none of {rows:,} rows has an annotation by {by}; name the key "
                "with --on, such as --on key=COLUMN"
            )
    return Exported(files=len(targets), rows=rows, matched=matched, by=by)


def _by_place(
    targets: Sequence[Target], shards: Sequence[AnnotatedShard | None], added: Added
) -> Iterator[tuple[Target, Aligned]]:
    for target, annotated in zip(targets, shards, strict=True):
        if annotated is None:
            yield target, Aligned(added.schema, iter(()))
            continue
        table = added.annotations.read(annotated)
        rows = pa.array(range(target.first, target.first + target.rows), pa.int64())
        batches = table.append_column(ROW, rows).to_batches()
        yield target, Aligned(added.schema, iter(batches))


def _by_key(
    targets: Sequence[Target], matcher: Matcher, added: Added, track: Track
) -> Iterator[tuple[Target, Aligned]]:
    """Match each file with the shard that has its name, or all files with all shards."""
    shards = added.annotations.found.shards
    by_name = {annotated.name: annotated for annotated in shards}
    if all(target.name in by_name for target in targets):
        for target in targets:
            batches = matcher.match([target], [by_name[target.name]])
            yield target, Aligned(added.schema, batches)
        return
    aligned = Aligned(added.schema, matcher.match(targets, shards, track))
    yield from ((target, aligned) for target in targets)


def _write(folder: _Folder, added: Added, target: Target, aligned: Aligned) -> None:
    """Write a copy of a file with further columns. Raises InputError or OutputError."""
    new = added.schema

    def batches() -> Iterator[Any]:
        begin = target.first
        for batch in filter(len, batches_of(parquet)):
            end = begin + len(batch)
            values = aligned.rows(begin, end).combine_chunks()
            columns = [*batch.columns, *(column.chunk(0) for column in values.columns)]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)
            begin = end

    try:
        with opened(target.url) as parquet:
            old = parquet.schema_arrow
            mark = {f"{METADATA_PREFIX}{MARK}".encode(): folder.mark.encode()}
            metadata = {**_with_features(old.metadata or {}, new), **mark}
            schema = pa.schema([*old, *new]).with_metadata(metadata)
            with committing(join(folder.url, target.name), folder.guard) as file:
                folder.written.add(target.name)
                write_like(file, schema, parquet.metadata, batches())
    except pa.ArrowException as error:
        raise InputError(f"{target.url}: not readable Parquet: {reason(error)}") from error


def _with_features(metadata: Mapping[bytes, bytes], added: Any) -> Mapping[bytes, bytes]:
    """Declare columns to `datasets`, if it has written the file: it refuses others."""
    told: Any = {}
    with suppress(ValueError, KeyError):
        told = json.loads(metadata[b"huggingface"])
    features = told.get("info", {}).get("features") if isinstance(told, dict) else None
    if not isinstance(features, dict):
        return metadata
    for each in added:
        kind = {"float": "float32", "double": "float64"}.get(str(each.type), str(each.type))
        features[each.name] = {"dtype": kind, "_type": "Value"}
    return {**metadata, b"huggingface": json.dumps(told).encode()}


def _check_names(target: Target, added: Sequence[str]) -> None:
    lower = {name.lower() for name in target.columns}
    if taken := [name for name in added if name.lower() in lower]:
        raise InputError(
            f"{target.url}: has a column {taken[0]} already; pass --prefix, such as --prefix "
            "shardsift_, or choose --columns without it"
        )


class _Folder(RunFolder):
    """Writes the copies of an export; if that fails, none of them stays."""

    def __init__(self, url: str, names: Set[str], mark: str, *, overwrite: bool) -> None:
        """Claim these files, and change nothing; files of the same export are written again.

        Raises OutputError if they may not be replaced.
        """
        super().__init__(url)
        self.mark: str = mark
        self.written: set[str] = set()
        there = names & self.files
        marks = {name: read_metadata(join(url, name)).get(MARK) for name in there}
        self.check_own("export", there, lambda name: marks[name] is not None)
        if not overwrite and any(each != mark for each in marks.values()):
            raise OutputError(
                f"{url}: holds another export; choose another --output, or --overwrite to replace "
                "it"
            )

    @contextmanager
    def writing(self) -> Generator[None]:
        """Hold the folder while the block writes into it. Raises OutputError."""
        with self.hold():
            self.sweep()
            try:
                yield
            except BaseException:
                with suppress(OutputError):  # report the first error, not this one
                    self.delete_all(self.written)
                raise
