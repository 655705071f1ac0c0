"""The rows of a shard to the bytes of its annotation file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shardsift.config import Extras
from shardsift.outputs.digest import TableDigest
from shardsift.outputs.embeddings import EmbeddingRows, EmbeddingsFile
from shardsift.outputs.sealed_table import (
    LABEL,
    Footer,
    count_values,
    encode_sealed,
    schema_of,
    shard_column,
)
from shardsift.outputs.sketch import quantile_sketch
from shardsift.outputs.spreads import spreads_of
from shardsift.records import ShardIdentity, ShardReport

MOST_TAR_SIZE = 2**31 - 1
"""Images of more bytes have no `tar_size`."""


class Encoded(NamedTuple):
    """The file of a shard's annotation, what it reports, and its embeddings, if it has them."""

    annotation: bytes
    report: ShardReport
    embeddings: EmbeddingsFile | None = None


class AnnotationEncoder:
    """Takes rows in, a row group at a time, and packs them: only then they take little memory.

    Equal rows and equal metadata give equal bytes: nothing here knows the time, the host or the
    run.
    """

    def __init__(
        self,
        shard: ShardIdentity,
        fingerprint: str,
        config: Mapping[str, Any],
        extras: Extras | None = None,
        embedding_values: int = 0,
    ) -> None:
        """Begin a file.

        Args:
            shard: what it is of.
            fingerprint: of what decides its scores.
            config: what that was made of, for people.
            extras: what it holds beside scores.
            embedding_values: of each embedding, if `extras` has these.
        """
        self.extras = extras or Extras()
        self.rows = 0
        self._schema = schema_of(self.extras)
        self._shard = shard
        self._fingerprint = fingerprint
        self._config = config
        self._errors: Counter[str] = Counter()
        self._qualities: list[NDArray[np.float32]] = []
        self._digest = TableDigest(self._schema)
        self._tables: list[Any] = []
        self._embeddings = None
        if self.extras.embeddings:
            self._embeddings = EmbeddingRows(shard.path, embedding_values)

    def add(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Take in the next rows: `ROW_GROUP_ROWS` of them, but for the last ones.

        The values of `shard` are left out of account: they are all alike. Embeddings, if they are
        asked for, stand in a column `embedding`. Raises ShardError if one can't be kept.
        """
        rows = len(columns["index"])
        arrays = [
            shard_column(self._shard.path, rows)
            if field.name == "shard"
            else _array(field, columns[field.name])
            for field in self._schema
        ]
        self.add_table(pa.Table.from_arrays(arrays, schema=self._schema))
        if self._embeddings:
            self._embeddings.add(columns["key"], columns["embedding"])

    def add_table(self, table: Any) -> None:
        """Take in the next rows, as `add` does, but for embeddings."""
        self._tables.append(table)
        self._digest.add(table)
        self._errors.update(count_values(table["error"]))
        self._qualities.append(table["quality"].drop_null().to_numpy())
        self.rows += len(table)

    def finish(self, passed_over: Mapping[str, int] | None = None) -> Encoded:
        """Return the files, and what they report."""
        report = ShardReport(
            shard=self._shard.path,
            rows=self.rows,
            bytes=self._shard.size,
            errors=dict(sorted(self._errors.items())),
            sketch=quantile_sketch(np.concatenate([np.empty(0, np.float32), *self._qualities])),
            passed_over={k: n for k, n in sorted((passed_over or {}).items()) if n},
            digest=self._digest.hexdigest(),
            attributes=spreads_of(pa.concat_tables(self._tables)) if self._tables else {},
        )
        embeddings = self._embeddings and self._embeddings.encode()
        footer = Footer(
            fingerprint=self._fingerprint,
            config=self._config,
            extras=self.extras,
            shard=self._shard,
            report=report,
            embeddings=embeddings and embeddings.identity,
        )
        tables = self._tables or [self._schema.empty_table()]
        data = encode_sealed(tables, self._schema, footer.as_metadata())
        return Encoded(data, report, embeddings)


def _array(field: Any, values: Sequence[Any]) -> Any:
    if field.name == "tar_size":
        values = [None if size is None or size > MOST_TAR_SIZE else size for size in values]
    if field.type == LABEL:
        return pa.array(values, pa.string()).dictionary_encode().cast(field.type)
    return pa.array(values, field.type)
