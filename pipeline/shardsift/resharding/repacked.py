"""Kept samples of what isn't a tar that webdataset reads: as new files of a tar.

Rows of a Parquet file and pictures of a folder have no files to copy, or names that would make two
pictures one sample. Each sample gets the key `00000012_000034`, its place in the new tars.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import pyarrow as pa

from shardsift.outputs.json_rows import fields_of
from shardsift.records import ShardTask
from shardsift.resharding.sample_files import SampleChunks, packed_chunks
from shardsift.resharding.source import KeptRow, check_picture
from shardsift.shards.readers import read_rows
from shardsift.shards.tars import BLOCK, padded

SOURCE = ("source_shard", "source_key")
"""Further fields of a sample's `.json`: where it comes from."""

_OVERHEAD = 4 * BLOCK
"""Headers of a picture and of its `.json`, and the content of that one, in bytes."""


def repacked_size(size: int | None) -> int:
    """Estimate the bytes of a sample in a tar by those of its picture."""
    return padded(size or 0) + _OVERHEAD


def repacked_rows(table: Any, kept_N: Any, columns: Sequence[str]) -> list[KeptRow]:
    """Make the rows of the indices `kept_N`, from all annotations of a shard."""
    rows = table.take(pa.array(kept_N))
    named = rows.select(columns)
    if columns:
        for name, column in zip(SOURCE, ("shard", "key"), strict=True):
            named = named.append_column(name, rows[column])
    values = (
        kept_N.tolist(),
        rows["key"].to_pylist(),
        fields_of(named) if columns else [""] * len(rows),
        rows["sha256"].to_pylist(),
    )
    return [
        KeptRow(index=index, key=key, offset=None, begin=0, end=0, fields=fields, sha256=sha256)
        for index, key, fields, sha256 in zip(*values, strict=True)
    ]


def read_repacked(
    task: ShardTask, rows: Sequence[KeptRow], columns: Collection[str], names: Iterator[str]
) -> Iterator[SampleChunks]:
    """Yield the samples of these rows as files of a tar, in order; `names` are their keys.

    Raises:
        ShardError: if the shard can't be read, or has changed since it was scored.
    """
    fields = {*columns, *SOURCE} if columns else ()
    samples = read_rows(task, {row.index: row.key for row in rows})
    for row, sample in zip(rows, samples, strict=True):
        picture = sample.image.data if sample.image else b""
        check_picture(picture, row.sha256, row.key, task.shard)
        yield packed_chunks(sample, next(names), row.fields, fields)
