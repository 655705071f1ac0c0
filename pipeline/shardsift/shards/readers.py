"""A shard of any kind: what identifies it, its samples in order, and the picture of one row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from shardsift.errors import ShardError
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
    task: ShardTask,
    passed_over: Counter[str] | None = None,
    size: int = 0,
    *,
    whole: bool = False,
    captions: Collection[str] = (),
) -> Iterator[Sample]:
    """Stream the samples of a shard of `size` bytes in its order; count files without a row.

    A `whole` sample has all that lies beside its picture: captions, fields, other files. Others
    have at least what `caption_of` needs for these `captions`.

    Raises:
        ShardError: if it can't be read to its end.
    """
    counts = Counter[str]() if passed_over is None else passed_over
    if task.shard.endswith(PICTURES_SUFFIX):
        return read_folder(task.url, task.shard, counts, whole=whole, captions=bool(captions))
    if task.shard.endswith(PARQUET_SUFFIX):
        return read_parquet(
            task.url, task.shard, counts, task.reading, size, whole=whole, captions=captions
        )
    return read_tar(
        task.url,
        task.shard,
        counts,
        task.reading.key_by,
        whole=whole,
        captions="txt" in captions,
    )


def read_rows(task: ShardTask, keys: Mapping[int, str]) -> Iterator[Sample]:
    """Stream whole samples of a shard: of `keys` by their index, in order.

    Raises:
        ShardError: if the shard can't be read, or has other samples there.
    """
    if task.shard.endswith(PICTURES_SUFFIX):
        pictures = read_folder(
            task.url, task.shard, Counter[str](), whole=True, keys=set(keys.values())
        )
        by_key = {key: index for index, key in keys.items()}
        found = (replace(each, index=by_key.pop(each.key, -1)) for each in pictures)
    else:
        found = (sample for sample in read_samples(task, whole=True) if sample.index in keys)
    rows = iter(found)
    for index, key in keys.items():
        sample = next(rows, None)
        if sample is None or (sample.index, sample.key) != (index, key):
            now = "isn't there" if sample is None else f"is {sample.key}"
            raise ShardError(task.shard, f"sample {index} was {key}, and {now} now")
        yield sample


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
