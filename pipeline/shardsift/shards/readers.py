"""A shard of any kind: what identifies it, its samples in order, and the picture of one row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from shardsift.reading import Reading
from shardsift.records import Sample, ShardIdentity, ShardTask
from shardsift.shards.folders import identify_folder, read_folder
from shardsift.shards.parquet import read_parquet, read_picture
from shardsift.shards.tar_samples import read_tar
from shardsift.storage.files import (
    PARQUET_SUFFIX,
    PICTURES_SUFFIX,
    identify,
    join,
    read_bytes,
    read_range,
)


def identify_shard(task: ShardTask) -> ShardIdentity:
    """Look up size and version of a shard. Raises OSError."""
    if task.shard.endswith(PICTURES_SUFFIX):
        return identify_folder(task.url, task.shard)
    return identify(task.url, task.shard)


def read_samples(
    task: ShardTask, passed_over: Counter[str] | None = None, size: int = 0
) -> Iterator[Sample]:
    """Stream the samples of a shard of `size` bytes in its order; count files without a row.

    Raises:
        ShardError: if it can't be read to its end.
    """
    counts = Counter[str]() if passed_over is None else passed_over
    if task.shard.endswith(PICTURES_SUFFIX):
        return read_folder(task.url, task.shard, counts)
    if task.shard.endswith(PARQUET_SUFFIX):
        return read_parquet(task.url, task.shard, counts, task.reading, size)
    return read_tar(task.url, task.shard, counts, task.reading.key_by)


def read_file(root: str, row: Mapping[str, Any], reading: Reading) -> bytes:
    """Read the image file of an annotation's row, below the folder of shards.

    Raises:
        OSError: if it can't be read.
        ValueError: if it doesn't lie in one piece.
    """
    shard = str(row["shard"])
    if shard.endswith(PICTURES_SUFFIX):
        return read_bytes(join(root, row["key"]))
    if shard.endswith(PARQUET_SUFFIX):
        return read_picture(join(root, shard), row["index"], reading)
    offset, size = row["tar_offset"], row["tar_size"]
    if not (isinstance(offset, int) and isinstance(size, int)):
        raise ValueError(f"{row['key']} does not lie in one piece in its tar")
    return read_range(join(root, shard), offset, size)
