"""Which part of the corpus each row belongs to: its folder, or what another file says of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from shardsift.config.filter import PREFIX
from shardsift.filter.rows import UNMATCHED, label_rows
from shardsift.measures import Contents
from shardsift.shards.plan import TOP, prefix_pattern
from shardsift.storage.files import absolute

_LABELS = ("VARCHAR", "BOOLEAN", "BIGINT", "UBIGINT", "INTEGER", "HUGEINT")
"""DuckDB's types of what parts are told by."""


@dataclass(frozen=True, kw_only=True)
class Parting:
    """The label of each row, and how to ask for it in SQL.

    `sql` is an expression, on columns that `flags` of `filter` may have to join; `empty` names rows
    without a label.
    """

    label: str
    sql: str
    values: Any
    empty: str
    flags: tuple[str, ...] = ()


def part_by(table: Any, per: str, join: str | None, contents: Contents) -> Parting:
    """Tell the parts of rows, a table of annotations.

    Raises:
        ConfigError: if there is no such column, or one of fractions.
        InputError: if the file can't be joined.
    """
    if per == PREFIX:
        return _by_prefix(table)
    values, expression = label_rows(table, "--per", per, join, contents)
    if expression.kind not in _LABELS:
        raise expression.refusal(f"is {expression.kind}; name text or whole numbers")
    flags = ("--join", join) if join is not None and expression.is_joined else ()
    if len(flags) == 2 and " " not in flags[1]:
        flags = ("--join", absolute(flags[1]))
    name = expression.written
    sql = name if re.fullmatch(r'"[^"]+"|\w+', name) else f"({name})"
    return Parting(label=per, sql=sql, values=values, empty=UNMATCHED, flags=flags)


def _by_prefix(table: Any) -> Parting:
    shards = table["shard"].combine_chunks()
    names: list[str] = shards.dictionary.to_pylist()
    pattern = prefix_pattern(names)
    prefixes = pa.array([re.sub(pattern, "", name) for name in names], pa.string())
    values = prefixes.take(shards.indices).dictionary_encode()
    return Parting(
        label="part of the corpus",
        sql=f"regexp_replace(shard, '{pattern}', '')",
        values=pa.chunked_array([values]),
        empty=TOP,
    )
