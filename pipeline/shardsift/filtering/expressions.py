"""Expressions in SQL of one row, as a person writes them: parsed by DuckDB, checked, rewritten.

Nothing that is typed reaches a query as it stands: DuckDB parses it, everything but functions of
one row is refused, each column is replaced by its own name in the query, and DuckDB writes the
tree down again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import duckdb

from shardsift.config import did_you_mean
from shardsift.errors import ConfigError
from shardsift.filtering.database import quoted, told

_MOST_CHARACTERS = 1 << 20
"""A longer one takes DuckDB's parser seconds."""

_TOO_DEEP = "is nested too deeply; write `x IN (…)` instead of many `x = … OR …`"

_BEGIN = "SELECT (\n"

_CLASSES = frozenset(
    {"BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT"}
    | {"FUNCTION", "OPERATOR", "TYPE"}
)
"""Classes of DuckDB expressions that only depend on one row, unlike subqueries and windows."""


_MACROS = frozenset(
    {"array_to_string", "date_add", "days_in_month", "fdiv", "if", "nullif", "split_part"}
)
"""DuckDB's macros of one row, beside those of lists; others look at its catalogue or the user."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column that an expression names.

    Attributes:
        name: the column's name in the query; no two columns have one.
        kind: DuckDB's type.
        sql: the value, of the tables that the query reads; NaN is null, integers are wide.
        table: number of the joined table that has it, None for annotations.
    """

    name: str
    kind: str
    sql: str
    table: int | None = None


Resolve = Callable[[Sequence[str]], Column]
"""Finds the column of a dotted name. Raises LookupError with the problem."""


class Expression:
    """An expression that is safe to put into a query.

    Attributes:
        written: text as given.
        sql: the expression, in parentheses, on the names of `columns`.
        columns: the columns that it uses.
        kind: DuckDB's type of its values.
    """

    def __init__(self, flag: str, text: str, resolve: Resolve, written: str | None = None) -> None:
        """Parse and check the expression of a flag; `written` is its SQL if that differs.

        Raises:
            ConfigError: if it isn't one, with the nearest known name for an unknown column or
                function.
        """
        self._flag, self._text, self._resolve = flag, text, resolve
        self.written: str = text if written is None else written
        self._columns: dict[str, Column] = {}
        if text != text.encode(errors="replace").decode():
            raise self.refusal("not an expression in SQL: has bytes that aren't UTF-8")
        if len(text) > _MOST_CHARACTERS:
            raise self.refusal(
                f"has {len(text):,} characters, more than {_MOST_CHARACTERS:,}; put long lists "
                "of values into a file, and join it"
            )
        self.sql: str = self._rewrite()
        self.columns: Collection[Column] = self._columns.values()
        self.kind: str = self._kind_on_nulls()

    @property
    def is_joined(self) -> bool:
        """True if a column of a joined table is named."""
        return any(column.table is not None for column in self.columns)

    def refusal(self, problem: str) -> ConfigError:
        """Make the error that describes the mistake."""
        text = self._text if len(self._text) <= 200 else f"{self._text[:200]}…"
        return ConfigError(f"{self._flag} {text!r}: {problem}")

    def _rewrite(self) -> str:
        """Return the expression as DuckDB writes it, with the columns' own names."""
        try:
            answer = _ask("SELECT json_serialize_sql(?)", [f"{_BEGIN}{self.written}\n)"])
            parsed = cast(dict[str, Any], json.loads(answer))
            if parsed["error"]:
                raise self.refusal(_syntax_error(parsed))
            expression = self._only_expression(parsed["statements"])
            self._check(expression)
            return f"({_ask('SELECT json_deserialize_sql(?)', [json.dumps(parsed)])[7:]})"
        except duckdb.Error as error:
            raise self.refusal(f"not an expression in SQL: {told(error)}") from error
        except RecursionError as error:
            raise self.refusal(_TOO_DEEP) from error

    def _only_expression(self, statements: Sequence[Any]) -> dict[str, Any]:
        """Return the expression of a query that has nothing else."""
        clauses = ("where_clause", "group_expressions", "having", "sample", "qualify", "modifiers")
        node = statements[0]["node"] if len(statements) == 1 else {}
        is_bare = (
            node.get("type") == "SELECT_NODE"
            and node["from_table"]["type"] == "EMPTY"
            and not any(map(node.get, clauses))
        )
        if not self._text.strip() or not is_bare or len(node["select_list"]) != 1:
            raise self.refusal("not an expression in SQL, or more than one")
        return cast(dict[str, Any], node["select_list"][0])

    def _check(self, tree: dict[str, Any]) -> None:
        """Refuse all but functions of one row, and replace columns by their names in the query."""
        for expression in _expressions(tree):
            kind = str(expression["class"])
            if kind not in _CLASSES:
                raise self.refusal(
                    f"a {kind.lower()} isn't allowed; an expression is about one row"
                )
            if kind == "COLUMN_REF":
                try:
                    column = self._resolve(expression["column_names"])
                except LookupError as error:
                    raise self.refusal(str(error.args[0])) from None
                self._columns[column.name] = column
                expression["column_names"] = [column.name]
            if kind == "FUNCTION":
                name = str(expression["function_name"]).lower()
                if name not in _pure_functions():
                    hint = did_you_mean(name, _pure_functions(), "see DuckDB's list of functions")
                    raise self.refusal(f"{name} isn't a function of one row; {hint}")

    def _kind_on_nulls(self) -> str:
        """Return the type for a row of nulls: types that don't fit show before a row is read."""
        nulls = (f"CAST(NULL AS {each.kind}) AS {quoted(each.name)}" for each in self.columns)
        try:
            return _ask(f"SELECT typeof({self.sql}) FROM (SELECT {', '.join([*nulls, '0'])})", [])
        except duckdb.Error as error:
            raise self.refusal(told(error)) from error


def field_kind(kind: str, fields: Sequence[str]) -> str:
    """Return the type of a field of a STRUCT, given its own. Raises LookupError."""
    path = "".join(f".{quoted(field)}" for field in fields)
    try:
        return _ask(f"SELECT typeof((CAST(NULL AS {kind})){path})", [])
    except duckdb.Error as error:
        raise LookupError(told(error)) from error


@cache
def _parser() -> duckdb.DuckDBPyConnection:
    """Open an empty database that reads and writes no files."""
    settings: dict[str, Any] = {
        "threads": 1,
        "enable_external_access": False,
        "lock_configuration": True,
    }
    return duckdb.connect(config=settings)


def _ask(query: str, parameters: Sequence[str]) -> str:
    with _parser().cursor() as cursor:
        (answer,) = cast(tuple[str], cursor.execute(query, parameters).fetchone())
    return answer


@cache
def _pure_functions() -> frozenset[str]:
    """List the functions of one row that give equal values for equal arguments.

    Those are all that DuckDB calls consistent for arguments of some types, which leaves out what
    depends on the clock or on chance for all of them.
    """
    query = """
        SELECT function_name FROM duckdb_functions()
        WHERE (function_type = 'scalar' AND stability = 'CONSISTENT')
            OR (function_type = 'macro' AND starts_with(function_name, 'list_'))
    """
    with _parser().cursor() as cursor:
        return _MACROS.union(*cursor.execute(query).fetchall())


def _expressions(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield all expressions of a tree, from the first on."""
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


def _syntax_error(parsed: dict[str, Any]) -> str:
    problem = " ".join(str(parsed["error_message"]).split())
    if "expression depth" in problem:
        return _TOO_DEEP
    place = int(parsed.get("position") or 0) - len(_BEGIN) + 1
    return f"not an expression in SQL: {problem}" + (
        f"; see character {place}" if place > 0 else ""
    )
