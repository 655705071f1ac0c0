"""Parquet files with the rows of others: schema and values as they were, row groups made anew."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from shardsift.shards.parquet import open_parquet
from shardsift.storage.files import Summing, open_read

_ROW_GROUP_BYTES = 32 << 20
_BATCH_BYTES = 4 << 20
_MOST_ROWS = 1 << 16
_LARGE = 1 << 10
"""Bytes of a value that gets no dictionary."""

_CODECS = frozenset({"SNAPPY", "GZIP", "BROTLI", "LZ4", "ZSTD"})


@contextmanager
def opened(url: str) -> Generator[Any]:
    """Open a `pyarrow.parquet.ParquetFile` for the block. Raises OSError or pa.ArrowException."""
    with open_read(url) as file:
        yield open_parquet(file)


def batches_of(parquet: Any) -> Iterator[Any]:
    """Yield all rows of a Parquet file, a few megabytes at a time."""
    groups = map(parquet.metadata.row_group, range(parquet.num_row_groups))
    size = sum(group.total_byte_size for group in groups)
    rows = _BATCH_BYTES * parquet.metadata.num_rows // max(size, 1)
    yield from parquet.iter_batches(min(max(rows, 1), _MOST_ROWS), use_threads=False)


def write_like(file: BinaryIO | Summing, schema: Any, like: Any, batches: Iterable[Any]) -> int:
    """Write batches of a schema, with the codecs of another file's metadata; return their rows.

    Columns that the other file lacks are compressed with zstd.
    """
    columns: list[Any] = []
    if like.num_row_groups:
        first = like.row_group(0)
        columns = [first.column(place) for place in range(first.num_columns)]
    codecs = dict.fromkeys(schema.names, "zstd")
    dictionaries = set(schema.names)
    for each in columns:
        codec, path = each.compression, each.path_in_schema
        codecs[path] = codec.lower() if codec in _CODECS else "none"
        dictionaries.discard(path)
        # A dictionary of pictures would be read as a whole for each of them.
        if each.has_dictionary_page and each.total_uncompressed_size < _LARGE * each.num_values:
            dictionaries.add(path)
    options: dict[str, Any] = {"compression": codecs, "use_dictionary": sorted(dictionaries)}
    rows = size = 0
    waiting: list[Any] = []
    with pq.ParquetWriter(
        file, schema, write_page_checksum=True, write_page_index=True, **options
    ) as writer:
        for batch in filter(len, batches):
            waiting.append(batch)
            rows, size = rows + len(batch), size + batch.nbytes
            if size >= _ROW_GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(waiting, schema))
                waiting, size = [], 0
        if waiting:
            writer.write_table(pa.Table.from_batches(waiting, schema))
    return rows
