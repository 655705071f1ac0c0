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


def read_rows(url: str, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table, batch by batch. Raises OSError, ArrowException or ValueError."""
    with open_read(url) as file:
        schema = pa.ipc.open_file(file).schema
        places = None if columns is None else [schema.get_field_index(name) for name in columns]
        options = pa.ipc.IpcReadOptions(included_fields=places)
        reader = pa.ipc.open_file(file, options=options)
        for place in range(reader.num_record_batches):
            yield from cast(list[dict[str, Any]], reader.get_batch(place).to_pylist())
