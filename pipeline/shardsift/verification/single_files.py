"""Proof of single files of an output."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shardsift.documents import DocumentError
from shardsift.errors import ErrorCode
from shardsift.measures import FEATURES, MACLIP
from shardsift.outputs.digest import ROW_COLUMNS, digest_of, is_broken
from shardsift.outputs.embeddings import embeddings_name, examine, read_embeddings
from shardsift.outputs.json_records import RunRecord, RunSummary
from shardsift.outputs.manifest import Totals
from shardsift.outputs.sealed_table import (
    Footer,
    count_values,
    parse_footer,
    schema_of,
    spreads_of,
)
from shardsift.outputs.sketch import quantile_sketch
from shardsift.records import FailedShard, ShardTask
from shardsift.storage.files import join, read_bytes
from shardsift.verification.findings import Unsound


def check_annotation(output: str, task: ShardTask, record: RunRecord) -> tuple[Footer, Any]:
    """Return the footer and the rows of a sound annotation file.

    Raises:
        Unsound: if anything in it is wrong.
        OSError: if it can't be fetched, which says nothing about it.
    """
    # Parsed in memory, to tell errors of the store from errors of the file.
    data = read_bytes(join(output, task.annotation))
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        metadata = file.schema_arrow.metadata or {}
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Unsound(f"its annotation is damaged: {error}") from error
    footer = _footer(metadata)
    if footer.contents != record.contents:
        different = record.contents.difference(footer.contents) or "with other settings"
        raise Unsound(f"its annotation was made {different}, not as the record says")
    if footer.shard.path != task.shard:
        raise Unsound(f"its annotation is that of {footer.shard.path}")
    if footer.report.rows != file.metadata.num_rows:
        rows = file.metadata.num_rows
        raise Unsound(f"its annotation has {rows:,} rows, its footer says {footer.report.rows:,}")
    try:
        table = file.read(use_threads=False).cast(schema_of(footer.contents))
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Unsound(f"the rows of its annotation are damaged: {error}") from error
    _check_rows(table, footer)
    _check_measures(table, footer)
    if digest_of(table) != footer.report.digest:
        raise Unsound("the rows of its annotation don't match the digest")
    is_answer = bool(footer.contents.sources)
    if not is_answer and footer.rows_digest != digest_of(table.select(list(ROW_COLUMNS))):
        raise Unsound("its rows don't match the rows_digest in its footer")
    if is_broken(data):
        raise Unsound("its annotation is damaged: its bytes have changed")
    return footer, table


def check_embeddings(output: str, task: ShardTask, footer: Footer, table: Any) -> None:
    """Check that embeddings are finite, and zeros exactly where they have to be.

    MA-CLIP's are there for rows with a score, those of other towers for pictures that were decoded.

    Raises:
        Unsound: if that isn't so, or they are not those that were written with the annotation.
        OSError: if they can't be fetched.
    """
    for tower, told in footer.embeddings.items():
        has_one = "quality" if tower == MACLIP else "width"
        is_scored_N = table[has_one].is_valid().to_numpy()
        url = join(output, embeddings_name(task.annotation, tower))
        checksum = hashlib.sha256()
        first = 0
        try:
            for rows_ND in read_embeddings(url, len(table), told.values, checksum.update):
                is_finite_N, is_zero_N = examine(rows_ND)
                if not is_finite_N.all():
                    raise ValueError("one isn't finite")
                if (is_zero_N == is_scored_N[first : first + len(rows_ND)]).any():
                    raise ValueError(f"zeros don't stand for rows without {has_one}, and only them")
                first += len(rows_ND)
        except FileNotFoundError as error:
            raise Unsound("its embeddings are missing") from error
        except ValueError as error:
            raise Unsound(f"its embeddings are damaged: {error}") from error
        if checksum.hexdigest() != told.sha256:
            raise Unsound("its embeddings have changed since they were written")


def check_failure(url: str, shard: str) -> None:
    """Raise Unsound if the record of a shard's failure is damaged, or that of another one."""
    try:
        failed = FailedShard.decode(read_bytes(url))
    except DocumentError as error:
        raise Unsound(f"the record of its failure is damaged: {error}") from error
    if failed.shard != shard:
        raise Unsound(f"the record of its failure is for {failed.shard}")


def check_summary(url: str, totals: Totals, record: RunRecord, manifest: str) -> None:
    """Raise Unsound if a summary is none, or tells other counts than its manifest.

    `manifest` is the SHA-256 of that.
    """
    try:
        summary = RunSummary.decode(read_bytes(url))
    except DocumentError as error:
        raise Unsound(str(error)) from error
    expected = totals.as_dict() | {"fingerprint": record.fingerprint, "manifest": manifest}
    del expected["quality_quantiles"]  # estimated; may depend on the order of merging
    wrong = [key for key, value in expected.items() if getattr(summary, key) != value]
    if wrong:
        raise Unsound(f"disagrees with the manifest: {', '.join(wrong)}")


def _footer(metadata: dict[bytes, bytes]) -> Footer:
    try:
        return parse_footer(metadata)
    except (ValueError, KeyError, TypeError) as error:
        is_ours = any(key.startswith(b"shardsift.") for key in metadata)
        whose = (
            "its annotation's footer is damaged"
            if is_ours
            else ("a Parquet file of another program")
        )
        raise Unsound(f"{whose}: {error!r}", is_ours=is_ours) from error


def _check_rows(table: Any, footer: Footer) -> None:
    report = footer.report
    index = table["index"].to_numpy()
    if not np.array_equal(index, np.arange(len(index))):
        place = int(np.argmax(index != np.arange(len(index))))
        raise Unsound(f"row {place:,} of its annotation has index {index[place]:,}")
    if set(table["shard"].unique().to_pylist()) - {report.shard}:
        raise Unsound("rows of its annotation name another shard")
    for name in (field.name for field in table.schema if pa.types.is_floating(field.type)):
        if not np.isfinite(table[name].drop_null().to_numpy()).all():
            raise Unsound(f"its annotation has a {name} that is not finite")
    if footer.contents.sources:
        return
    counts = count_values(table["error"])
    if unknown := set(counts) - set(ErrorCode):
        raise Unsound(f"its annotation has an unknown error: {min(unknown)}")
    if counts != report.errors:
        raise Unsound("the errors of its rows differ from its footer's counts")


def _check_measures(table: Any, footer: Footer) -> None:
    """Raise Unsound unless columns have values where they should, and sums are those of values."""
    measures = footer.contents.measures
    if MACLIP in measures:
        if (table["error"].is_null().to_numpy() == table["quality"].is_null().to_numpy()).any():
            raise Unsound("its annotation has a row with both a score and an error, or neither")
        if quantile_sketch(table["quality"].drop_null().to_numpy()) != footer.report.sketch:
            raise Unsound("the sketch in its footer doesn't match its rows")
    for name in footer.contents.unmeasured:
        if table[name].null_count < len(table):
            raise Unsound(f"its annotation has a {name} that no measure computes")
    featured = [c.name for own in measures.values() if FEATURES in own.needs for c in own.columns]
    for name in featured:
        if not table[name].is_null().equals(table[featured[0]].is_null()):
            raise Unsound(f"its annotation has a row with only one of {name} and {featured[0]}")
    if spreads_of([table], footer.contents.further) != footer.report.spreads:
        raise Unsound("the sums of columns in its footer don't match its rows")
