"""A condition in SQL as an expression of pyarrow, which Parquet's statistics can answer."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute
import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError

from shardsift.annotations.parquet import SCHEMA
from shardsift.config import nearest
from shardsift.errors import ConfigError
from shardsift.storage.redaction import reason

pc: Any = pyarrow.compute  # which makes its functions when it is imported

_COMPARISONS: dict[type[Any], Callable[[Any, Any], Any]] = {
    exp.EQ: operator.eq,
    exp.NEQ: operator.ne,
    exp.GT: operator.gt,
    exp.GTE: operator.ge,
    exp.LT: operator.lt,
    exp.LTE: operator.le,
}
_ARITHMETIC: dict[type[Any], Callable[[Any, Any], Any]] = {
    exp.Add: operator.add,
    exp.Sub: operator.sub,
    exp.Mul: operator.mul,
    exp.Div: operator.truediv,
}


def parse_where(condition: str) -> Any:
    """Turn a condition on annotation columns into a `pyarrow.compute.Expression`.

    Raises:
        ConfigError: if it isn't one, naming the column that an unknown one may have meant.
    """
    try:
        tree = sqlglot.parse_one(condition, dialect="duckdb")
    except ParseError as error:
        place = error.errors[0].get("col") if error.errors else None
        where = f"; see character {place}" if place else ""
        raise _refusal(condition, f"not a condition in SQL{where}") from error
    except SqlglotError as error:
        raise _refusal(condition, f"not a condition in SQL: {reason(error)}") from error
    expression = _Translator(condition).translate(tree)
    try:
        SCHEMA.empty_table().filter(expression)
    except (pa.ArrowException, TypeError) as error:
        raise _refusal(condition, reason(error)) from error
    return expression


def _refusal(condition: str, problem: str) -> ConfigError:
    return ConfigError(f"where {condition!r}: {problem}")


class _Translator:
    """Nodes of sqlglot's tree to expressions; holds the condition, for its errors."""

    def __init__(self, condition: str) -> None:
        self._condition = condition

    def translate(self, node: Any) -> Any:
        """Turn a node that is true, false or null into an expression."""
        match node:
            case exp.Paren():
                return self.translate(node.this)
            case exp.And():
                return self.translate(node.left) & self.translate(node.right)
            case exp.Or():
                return self.translate(node.left) | self.translate(node.right)
            case exp.Not():
                return ~self.translate(node.this)
            case exp.Is() if isinstance(node.expression, exp.Null):
                return self._value(node.this).is_null()
            case exp.Between():
                low, high = node.args["low"], node.args["high"]
                above = self._compare(operator.ge, node.this, low)
                return above & self._compare(operator.le, node.this, high)
            case exp.In() if node.expressions:
                # `isin` takes null for a value like others, so that NOT IN would let it through
                equals = [self._compare(operator.eq, node.this, v) for v in node.expressions]
                return reduce(operator.or_, equals)
            case exp.Like() | exp.ILike() if isinstance(node.expression, exp.Literal):
                text = self._value(node.this).cast(pa.string())
                pattern = node.expression.name
                return pc.match_like(text, pattern, ignore_case=isinstance(node, exp.ILike))
            case _ if type(node) in _COMPARISONS:
                return self._compare(_COMPARISONS[type(node)], node.left, node.right)
            case _:
                raise _refusal(
                    self._condition,
                    f"{node.sql()} isn't understood; there are comparisons, AND, OR, NOT, IN, "
                    "BETWEEN, LIKE, IS NULL and arithmetic",
                )

    def _compare(self, compare: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
        # A float32 is compared with the float32 nearest to the number, as DuckDB does: 0.7 = 0.7.
        narrow = self._is_float32(left) or self._is_float32(right)
        return compare(self._value(left, narrow), self._value(right, narrow))

    def _value(self, node: Any, narrow: bool = False) -> Any:
        match node:
            case exp.Paren():
                return self._value(node.this, narrow)
            case exp.Column():
                return pc.field(self._column(node.name))
            case exp.Neg() if isinstance(node.this, exp.Literal):
                return self._literal(node.this, narrow, sign=-1)
            case exp.Literal():
                return self._literal(node, narrow)
            case _ if type(node) in _ARITHMETIC:
                left, right = self._operand(node.left), self._operand(node.right)
                return _ARITHMETIC[type(node)](left, right)
            case _:
                return self.translate(node)

    def _operand(self, node: Any) -> Any:
        # width * height of large images doesn't fit 32 bits, and SQL divides without a floor
        return self._value(node).cast(pa.float64())

    def _literal(self, node: Any, narrow: bool, sign: int = 1) -> Any:
        if node.is_string:
            return pc.scalar(node.name)
        number = sign * float(node.name)
        if narrow:
            return pc.scalar(pa.scalar(number, pa.float32()))
        return pc.scalar(int(number) if number.is_integer() else number)

    def _column(self, name: str) -> str:
        if name in SCHEMA.names:
            return name
        guess = nearest(name, set(SCHEMA.names))
        hint = f"did you mean {guess}?" if guess else f"there are {', '.join(SCHEMA.names)}"
        raise _refusal(self._condition, f"no column {name}; {hint}")

    def _is_float32(self, node: Any) -> bool:
        return isinstance(node, exp.Column) and SCHEMA.field(self._column(node.name)).type == (
            pa.float32()
        )
