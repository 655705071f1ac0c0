"""All rows as one table: CSV, JSON lines or Lance, streamed shard by shard."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv

from shardsift.errors import AnnotationError, ConfigError, OutputError
from shardsift.exporting.matching import Annotations
from shardsift.outputs.json_rows import fields_of, hexadecimal
from shardsift.outputs.sealed_table import schema_of
from shardsift.redaction import reason
from shardsift.storage.files import absolute, committing, identify
from shardsift.threads import Track, map_ordered

_THREADS = 4


def write_table(
    to: str, annotations: Annotations, output: str, track: Track, *, overwrite: bool
) -> int:
    """Write all rows into one file, or one Lance data set; return their number.

    Raises:
        OutputError: if the output can't be written, or is there already.
        ConfigError: if Lance isn't installed.
        AnnotationError: if an annotation file is damaged.
    """
    shards = annotations.found.shards
    tables = track(map_ordered(annotations.read, shards, _THREADS), "exporting", len(shards))
    if to == "lance":
        return _write_lance(annotations, tables, output, overwrite=overwrite)
    if not overwrite and _exists(output):
        raise OutputError(
            f"{output}: is there already; choose another --output, or --overwrite to replace it"
        )
    rows = 0
    with ExitStack() as stack:
        file: Any = stack.enter_context(committing(output))
        if output.endswith(".gz"):
            file = stack.enter_context(gzip.GzipFile("", "wb", 6, file, mtime=0))
        for table in _lines(tables, file) if to == "jsonl" else _rows(tables, file):
            rows += len(table)
    return rows


def _exists(url: str) -> bool:
    try:
        identify(url, url)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise OutputError(f"{url}: can't be written: {reason(error)}") from error
    return True


def _lines(tables: Iterable[Any], file: BinaryIO) -> Iterator[Any]:
    for table in tables:
        file.writelines(f"{{{fields}}}\n".encode() for fields in fields_of(table))
        yield table


def _rows(tables: Iterable[Any], file: BinaryIO) -> Iterator[Any]:
    """Write CSV by RFC 4180, with a header: nothing between commas for null."""
    writer: Any = None
    for table in tables:
        columns = {name: hexadecimal(table[name]) for name in table.column_names}
        plain = pa.table(columns)
        if writer is None:
            writer = pyarrow.csv.CSVWriter(file, plain.schema)
        writer.write_table(plain)
        yield table
    writer.close()


def _write_lance(
    annotations: Annotations, tables: Iterable[Any], output: str, *, overwrite: bool
) -> int:
    try:
        import lance
    except ImportError as error:
        problem = "--to lance needs pylance: pip install 'shardsift[lance]'"
        raise ConfigError(problem) from error
    own = schema_of(annotations.contents, annotations.names)
    plain = [
        pa.field(e.name, pa.string() if pa.types.is_dictionary(e.type) else e.type) for e in own
    ]
    schema = pa.schema(plain)
    failures: list[AnnotationError] = []

    def batches() -> Iterator[Any]:
        try:
            for table in tables:
                yield from table.cast(schema).to_batches()
        except AnnotationError as error:  # which Lance would tell as one of its own
            failures.append(error)
            raise

    reader = pa.RecordBatchReader.from_batches(schema, batches())
    mode = "overwrite" if overwrite else "create"
    try:
        written: Any = lance.write_dataset(reader, absolute(output), mode=mode)
    except (OSError, ValueError, RuntimeError) as error:
        if failures:
            raise failures[0] from error
        there = "exists" in str(error)
        remedy = "; choose another --output, or --overwrite to replace it" if there else ""
        raise OutputError(f"{output}: can't be written: {reason(error)}{remedy}") from error
    return int(written.count_rows())
