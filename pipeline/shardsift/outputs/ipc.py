"""Our own tables, in Arrow's IPC format: not in Parquet, for which readers of annotations look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import pyarrow as pa

from shardsift.storage.files import open_read

SUFFIX = ".arrow"

BATCH_ROWS = 1 << 12
"""So many rows are held at a time."""

WRITTEN = pa.ipc.IpcWriteOptions(compression="zstd")


def read_rows(
    url: str, schema: Any, columns: Sequence[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table of this schema, batch by batch.

    Raises OSError, ArrowException or ValueError.
    """
    for batch in _batches(url, schema, columns):
        yield from cast(list[dict[str, Any]], batch.to_pylist())


def read_table(url: str, schema: Any, columns: Sequence[str]) -> Any:
    """Read some columns of a table of this schema. Raises as `read_rows` does."""
    chosen = pa.schema([schema.field(name) for name in columns])
    return pa.Table.from_batches(_batches(url, schema, columns), chosen).unify_dictionaries()


def _batches(url: str, schema: Any, columns: Sequence[str] | None) -> Iterator[Any]:
    with open_read(url) as file:
        found = pa.ipc.open_file(file).schema
        if not found.equals(schema):
            raise ValueError("has other columns than it should have")
        places = None if columns is None else [found.get_field_index(name) for name in columns]
        reader = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=places))
        for place in range(reader.num_record_batches):
            batch = reader.get_batch(place)
            batch.validate(full=True)
            yield batch
