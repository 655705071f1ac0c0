"""DuckDB as `filter` uses it: in memory, spilling below `TMPDIR`, errors in one line."""

from __future__ import annotations

import glob
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, Self

import duckdb
import numpy as np
import pyarrow as pa

from shardsift.errors import UserError
from shardsift.redaction import reason
from shardsift.storage.files import remote_files
from shardsift.storage.local import make_scratch, out_of_scratch

_MEMORY = "50%"
"""DuckDB's part of the memory that this process may have: of the machine, or its control group."""


class QueryError(UserError):
    """A query that DuckDB can't answer: an expression that fails on a row, a damaged file."""


class Database:
    """A database that ends with its block.

    It reads the files that it is opened with and the Arrow data that a query is given, and nothing
    else: no other file, no environment, no network, and its settings are locked.
    """

    def __init__(self, files: Iterable[str] = ()) -> None:
        """Open it. `files` are as `located` spells them."""
        self._scratch = make_scratch()
        self._failure: BaseException | None = None
        self._connection = duckdb.connect(
            config={
                "temp_directory": self._scratch.name,
                "memory_limit": _MEMORY,
                "preserve_insertion_order": False,
                # A plan can't use the size of a stream, so the right side of a join is held in
                # memory, as written in the query. And Parquet's statistics ignore NaN, so that
                # isnan() would count as false.
                "disabled_optimizers": "join_order,build_side_probe_side,statistics_propagation",
            }
        )
        self._connection.register_filesystem(remote_files())
        paths = [path for file in files for path in (file, escaped(file))]
        self._connection.execute("SET allowed_paths = ?", [paths])
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._scratch.cleanup()

    def stream(self, schema: Any, batches: Iterable[Any]) -> Any:
        """Make a source of one query of what yields record batches; their errors are raised."""

        def remembering() -> Iterator[Any]:
            try:
                yield from batches
            except BaseException as error:
                self._failure = error
                raise

        return pa.RecordBatchReader.from_batches(schema, remembering())

    def run(self, query: str, sources: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Return all rows of an answer. `sources` are Arrow tables and streams, by their names.

        Raises:
            QueryError: if there is no answer.
            WriteError: if scratch files can't be written.
            UserError: if there is too little memory.
        """
        with self._asking(sources or {}) as connection:
            return connection.execute(query).fetchall()

    def batches(self, query: str, sources: Mapping[str, Any] | None = None) -> Iterator[Any]:
        """Yield the record batches of an answer of any size. Raises as `run` does."""
        with self._asking(sources or {}) as connection:
            yield from pa.RecordBatchReader.from_stream(connection.sql(query))

    @contextmanager
    def _asking(self, sources: Mapping[str, Any]) -> Generator[duckdb.DuckDBPyConnection]:
        connection = self._connection.cursor()  # one cursor a query, so that queries may overlap
        try:
            for name, source in sources.items():
                connection.register(name, source)
            yield connection
        except (duckdb.Error, pa.ArrowException, RuntimeError) as error:
            if "interrupt" in str(error).lower():  # DuckDB handles SIGINT itself
                raise KeyboardInterrupt from None
            if self._failure is not None:
                raise self._failure from None
            if full := out_of_scratch(str(error)):
                raise full from error
            if isinstance(error, duckdb.OutOfMemoryException):
                raise UserError(
                    f"filter needs more memory than it may take, {_MEMORY} of what this process "
                    f"may have ({told(error)}); give it more"
                ) from error
            raise QueryError(told(error)) from error
        finally:
            connection.close()


def equal_runs(batches: Iterable[Any], column: str) -> Iterator[tuple[Any, Any]]:
    """Yield each run of rows that are equal in a column: the value, and a table of the rows."""
    value, waiting = None, list[Any]()
    for batch in batches:
        codes_N = batch[column].dictionary_encode().indices.to_numpy()
        begins = np.flatnonzero(np.diff(codes_N, prepend=-1))
        for begin, end in pairwise([*begins, len(batch)]):
            own = batch[column][begin].as_py()
            if waiting and own != value:
                yield value, pa.Table.from_batches(waiting)
                waiting = []
            value = own
            waiting.append(batch.slice(begin, end - begin))
    if waiting:
        yield value, pa.Table.from_batches(waiting)


def quoted(name: str) -> str:
    """Quote a name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """Write a string in SQL."""
    return "'" + value.replace("'", "''") + "'"


def escaped(file: str) -> str:
    """Escape the location of a file, so that DuckDB finds no wildcard in it."""
    return file if "://" in file else glob.escape(file)


def told(error: Exception) -> str:
    """Shorten what DuckDB says to its first line, without the kind of error and its settings."""
    line, *further = str(error).split("\n")
    if (
        "CSV Error on Line" in line and len(further) > 1
    ):  # the message has the CSV line in the middle
        line += f": {further[1]}"
    line = line.partition(", or SET ")[0]
    kind, colon, problem = line.partition(" Error: ")
    return reason(Exception(problem if colon else kind))
