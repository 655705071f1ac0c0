"""A condition in SQL on the columns of annotations, as DuckDB understands it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from functools import cache
from typing import Any, cast

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shardsift.annotations.parquet import SCHEMA
from shardsift.config import did_you_mean
from shardsift.errors import ConfigError
from shardsift.redaction import reason

_MOST_CHARACTERS = 1 << 20
"""A longer condition takes seconds for each annotation file."""

_TOO_DEEP = "is nested too deeply; `x IN (…)` does for many `x = … OR …`"

_BEGIN = "SELECT (\n"

_EXPRESSIONS = frozenset(
    {"BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT"}
    | {"FUNCTION", "OPERATOR", "TYPE"}
)
"""Classes of DuckDB's expressions that look at one row alone, unlike subqueries and windows."""

_PLACE = "row number"
"""The name of a column that no condition can name."""


class Condition:
    """Tells which rows of annotations fulfil a condition; threads may share it.

    `columns` are those that it looks at.
    """

    def __init__(self, text: str, schema: Any = SCHEMA) -> None:
        """Check a condition on columns of a schema.

        Raises:
            ConfigError: if it isn't one, naming the column that an unknown one may have meant.
        """
        self._text = text
        self._schema = schema
        if text != text.encode(errors="replace").decode():
            raise self._refusal("not a condition in SQL: has bytes that aren't UTF-8")
        if len(text) > _MOST_CHARACTERS:
            raise self._refusal(
                f"has {len(text):,} characters, and {_MOST_CHARACTERS:,} are the most; put long "
                "lists of values into a Parquet file, and join it"
            )
        self.columns = frozenset(self._columns_of(self._parse()))
        self._query = f"SELECT {_quoted(_PLACE)} FROM ({self._rows()}) WHERE (\n{text}\n)"
        self._try_on_nulls()

    def passes(self, table: Any, shard: str) -> NDArray[np.bool_]:
        """Tell which rows of a `pyarrow.Table`, which has at least `columns`, fulfil it.

        Raises:
            ConfigError: if the condition has no value for one of them, as a cast that fails.
        """
        places = pa.array(np.arange(len(table)))
        rows = table.select(sorted(self.columns)).append_column(_PLACE, places)
        try:
            with _database().cursor() as cursor:
                found = cursor.register("annotations", rows).execute(self._query).fetchnumpy()
        except duckdb.Error as error:
            raise self._refusal(f"fails in {shard}: {_told(error)}") from error
        passes_N = np.zeros(len(table), np.bool_)
        passes_N[found[_PLACE]] = True
        return passes_N

    def _rows(self) -> str:
        """Select the columns. Integers become wide: areas of large images don't fit 32 bits."""
        columns = (
            f"{_quoted(name)}::BIGINT AS {_quoted(name)}"
            if self._is_narrow(name)
            else _quoted(name)
            for name in sorted(self.columns)
        )
        return f"SELECT {', '.join([_quoted(_PLACE), *columns])} FROM annotations"

    def _is_narrow(self, name: str) -> bool:
        kind = self._schema.field(name).type
        return pa.types.is_integer(kind) and kind != pa.uint64()

    def _parse(self) -> dict[str, Any]:
        """Return DuckDB's tree of the condition: one expression, and nothing around it."""
        query = f"{_BEGIN}{self._text}\n)"
        try:
            with _database().cursor() as cursor:
                answer = cursor.execute("SELECT json_serialize_sql(?)", [query]).fetchone()
            parsed = cast(dict[str, Any], json.loads(cast(tuple[str], answer)[0]))
        except duckdb.Error as error:
            raise self._refusal(f"not a condition in SQL: {_told(error)}") from error
        except RecursionError as error:
            raise self._refusal(_TOO_DEEP) from error
        if parsed["error"]:
            if "expression depth" in parsed["error_message"]:
                raise self._refusal(_TOO_DEEP)
            raise self._refusal(_syntax_error(parsed))
        (statement,) = parsed["statements"]
        node = statement["node"]
        if not self._text.strip() or len(node["select_list"]) != 1 or not _is_bare(node):
            raise self._refusal("not a condition in SQL, which is one expression")
        return cast(dict[str, Any], node["select_list"][0])

    def _columns_of(self, tree: dict[str, Any]) -> Iterator[str]:
        """Yield the columns that are named; refuse what doesn't depend on one row alone."""
        for expression in _expressions(tree):
            if expression["class"] not in _EXPRESSIONS:
                kind = str(expression["class"]).lower()
                raise self._refusal(f"a {kind} isn't understood; it is about one row at a time")
            if expression["class"] == "COLUMN_REF":
                yield self._column(".".join(expression["column_names"]))
            if expression["class"] == "FUNCTION":
                self._check_function(str(expression["function_name"]).lower())

    def _column(self, name: str) -> str:
        names = self._schema.names
        for known in (name, *(known for known in names if known.lower() == name.lower())):
            if known in names:
                return known
        hint = did_you_mean(name, names, f"there are {', '.join(names)}")
        raise self._refusal(f"no column {name}; {hint}")

    def _check_function(self, name: str) -> None:
        if name in _pure_functions():
            return
        hint = did_you_mean(name, _pure_functions(), "see DuckDB's list of functions")
        raise self._refusal(f"{name} isn't a function of one row alone; {hint}")

    def _try_on_nulls(self) -> None:
        """Ask it about a row of nulls: types that don't fit show before any file is read."""
        fields = map(self._schema.field, sorted(self.columns))
        schema = pa.schema([*fields, pa.field(_PLACE, pa.int64())])
        nulls = pa.Table.from_pylist([{_PLACE: 0}], schema=schema)
        query = f"SELECT typeof(\n{self._text}\n) FROM ({self._rows()})"
        try:
            with _database().cursor() as cursor:
                (kind,) = cursor.register("annotations", nulls).execute(query).fetchone() or ("",)
                cursor.execute(self._query)
        except duckdb.Error as error:
            raise self._refusal(_told(error)) from error
        if kind != "BOOLEAN":
            raise self._refusal(f"is a {kind}, and not true or false")

    def _refusal(self, problem: str) -> ConfigError:
        shown = self._text if len(self._text) <= 200 else f"{self._text[:200]}…"
        return ConfigError(f"where {shown!r}: {problem}")


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """Open an empty database that reads and writes no files.

    Whoever asks does the work, in a thread of its own. Filters aren't pushed down: pyarrow would
    answer them then, by other rules.
    """
    settings: dict[str, Any] = {
        "threads": 1,
        "enable_external_access": False,
        "disabled_optimizers": "filter_pushdown",
    }
    return duckdb.connect(config=settings)


@cache
def _pure_functions() -> frozenset[str]:
    """List the functions of one row that give equal values for equal arguments.

    Those are all that DuckDB calls consistent for arguments of some types, which leaves out what
    depends on the clock or on chance for all of them, and macros that are made of such.
    """
    query = """
        SELECT function_name, parameters, macro_definition FROM duckdb_functions()
        WHERE (function_type = 'scalar' AND stability = 'CONSISTENT') OR function_type = 'macro'
    """
    found = cast(list[tuple[str, list[str], str | None]], _database().execute(query).fetchall())
    pure = {name for name, _, definition in found if definition is None}
    macros = {name: _parts_of(macro, given) for name, given, macro in found if macro is not None}
    while more := {name for name, parts in macros.items() if parts <= pure} - pure:
        pure |= more
    return frozenset(pure)


def _parts_of(macro: str, given: Collection[str]) -> set[str]:
    """Name the functions that a macro calls, and what else it takes than what it is given."""
    query = "SELECT json_serialize_sql(?)"
    (answer,) = cast(tuple[str], _database().execute(query, [f"SELECT {macro}"]).fetchone())
    parts: set[str] = set()
    for expression in _expressions(json.loads(answer)):
        kind = str(expression["class"])
        if kind == "FUNCTION":
            parts.add(str(expression["function_name"]).lower())
        elif kind not in _EXPRESSIONS or (
            kind == "COLUMN_REF" and expression["column_names"][-1] not in given
        ):
            parts.add(kind)
    return parts


def _expressions(tree: Any) -> Iterator[dict[str, Any]]:
    """Go through all expressions of a tree, from the first on."""
    waiting = [tree]
    while waiting:
        match waiting.pop():
            case dict() as node:
                if "class" in node:
                    yield cast(dict[str, Any], node)
                waiting += reversed(node.values())
            case list() as nodes:
                waiting += reversed(nodes)
            case _:
                pass


def _is_bare(node: dict[str, Any]) -> bool:
    """Tell whether a query selects, and does nothing else: the condition's text ends in itself."""
    clauses = ("where_clause", "group_expressions", "having", "sample", "qualify", "modifiers")
    return node["from_table"]["type"] == "EMPTY" and not any(map(node.get, clauses))


def _syntax_error(parsed: dict[str, Any]) -> str:
    problem = " ".join(str(parsed["error_message"]).split())
    place = int(parsed.get("position") or 0) - len(_BEGIN) + 1
    return f"not a condition in SQL: {problem}" + (f"; see character {place}" if place > 0 else "")


def _told(error: Exception) -> str:
    """Shorten what DuckDB says to its first line, without the kind of error and its settings."""
    line = str(error).partition("\n")[0].partition(", or SET ")[0]
    kind, colon, problem = line.partition(" Error: ")
    return reason(Exception(problem if colon else kind))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
