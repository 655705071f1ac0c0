"""The rows of a shard to the bytes of its file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from shardsift.measures import Contents, Tower
from shardsift.outputs.digest import ROW_COLUMNS, TableDigest
from shardsift.outputs.embeddings import EmbeddingRows, EmbeddingsFile
from shardsift.outputs.sealed_table import (
    LABEL,
    Footer,
    count_values,
    encode_sealed,
    schema_of,
    shard_column,
    spreads_of,
)
from shardsift.outputs.sketch import quantile_sketch
from shardsift.records import Embedding, ShardIdentity, ShardReport

pc: Any = pyarrow.compute  # its functions are made at import, unseen by type checkers

MOST_TAR_SIZE = 2**31 - 1
"""Images of more bytes have no `tar_size`."""


class Encoded(NamedTuple):
    """The file of a shard, its report, and its embeddings by tower."""

    annotation: bytes
    report: ShardReport
    embeddings: Mapping[str, EmbeddingsFile]


class AnnotationEncoder:
    """Takes rows in, a row group at a time, and packs them: only then they take little memory.

    Equal rows and equal metadata give equal bytes: nothing here knows the time, the host or the
    run.
    """

    def __init__(
        self,
        shard: ShardIdentity,
        contents: Contents,
        towers: Mapping[str, Tower] | None = None,
        *,
        rows_digest: str | None = None,
        sources: Mapping[str, str] | None = None,
    ) -> None:
        """Begin a file.

        Args:
            shard: identity of the shard.
            contents: measures of the file.
            towers: those whose embeddings are written, by name.
            rows_digest: for answers, that of the annotations.
            sources: for answers, the SHA-256 of the embeddings, by tower.
        """
        self.contents = contents
        self.rows: int = 0
        self._schema = schema_of(contents)
        self._further = {column.name for column in contents.further}
        self._shard = shard
        self._rows_digest = rows_digest
        self._sources = sources or {}
        self._errors: Counter[str] = Counter()
        self._qualities: list[NDArray[np.float32]] = []
        self._digest = TableDigest(self._schema)
        self._tables: list[Any] = []
        self._embeddings = {
            name: EmbeddingRows(shard.path, tower) for name, tower in sorted((towers or {}).items())
        }
        assert tuple(self._embeddings) == tuple(contents.embeddings), "all are given"

    def add(
        self,
        columns: Mapping[str, Sequence[Any]],
        embeddings: Mapping[str, Sequence[Embedding | None]] | None = None,
    ) -> None:
        """Add the next rows, and their embeddings by tower, if there are any.

        There are exactly `ROW_GROUP_ROWS`, except for the last ones. Values of `shard` are ignored,
        as they are all equal. Raises ShardError for an embedding that float16 can't hold.
        """
        rows = len(columns["index"])
        arrays = [
            shard_column(self._shard.path, rows)
            if field.name == "shard"
            else _array(field, columns[field.name], is_further=field.name in self._further)
            for field in self._schema
        ]
        self.add_table(pa.Table.from_arrays(arrays, schema=self._schema))
        for name, rows_of_tower in self._embeddings.items():
            rows_of_tower.add(columns["key"], (embeddings or {})[name])

    def add_table(self, table: Any) -> None:
        """Add the next rows, as `add` does, without embeddings."""
        self._tables.append(table)
        self._digest.add(table)
        if "error" in self._schema.names:
            self._errors.update(count_values(table["error"]))
        if "quality" in self._schema.names:
            self._qualities.append(table["quality"].drop_null().to_numpy())
        self.rows += len(table)

    def finish(self, passed_over: Mapping[str, int] | None = None) -> Encoded:
        """Return the files and their report."""
        report = ShardReport(
            shard=self._shard.path,
            rows=self.rows,
            bytes=self._shard.size,
            errors=dict(sorted(self._errors.items())),
            sketch=quantile_sketch(np.concatenate([np.empty(0, np.float32), *self._qualities])),
            passed_over={k: n for k, n in sorted((passed_over or {}).items()) if n},
            digest=self._digest.hexdigest(),
            spreads=spreads_of(self._tables, self.contents.further),
            measures=self.contents.digests,
        )
        embeddings = {tower: rows.encode() for tower, rows in self._embeddings.items()}
        footer = Footer(
            contents=self.contents,
            shard=self._shard,
            report=report,
            rows_digest=self._rows_digest or self._digest.hexdigest(ROW_COLUMNS),
            embeddings={tower: file.identity for tower, file in embeddings.items()},
            sources=self._sources,
        )
        tables = self._tables or [self._schema.empty_table()]
        data = encode_sealed(tables, self._schema, footer.as_metadata())
        return Encoded(data, report, embeddings)


def _array(field: Any, values: Sequence[Any], *, is_further: bool) -> Any:
    if field.name == "tar_size":
        values = [None if size is None or size > MOST_TAR_SIZE else size for size in values]
    if field.type == LABEL:
        return pa.array(values, pa.string()).dictionary_encode().cast(field.type)
    if is_further and pa.types.is_floating(field.type):  # values of `maclip` are finite already
        array = pa.array(values, field.type, from_pandas=True)
        return pc.if_else(pc.is_finite(array), array, pa.scalar(None, field.type))
    return pa.array(values, field.type)
