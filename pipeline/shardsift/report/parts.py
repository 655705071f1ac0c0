"""Which part of the corpus each row belongs to: its folder, or what another file says of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from shardsift.config import Extras
from shardsift.curation.buckets import UNMATCHED
from shardsift.curation.columns import Columns
from shardsift.curation.filter_config import PREFIX
from shardsift.curation.joined import JoinedFiles, is_text, plain
from shardsift.errors import ConfigError
from shardsift.shards.plan import TOP, prefix_pattern
from shardsift.storage.files import absolute


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


def part_by(table: Any, per: str, join: str | None, extras: Extras) -> Parting:
    """Tell the parts of rows, a table of annotations.

    Raises:
        ConfigError: if there is no such column, or one of fractions.
        InputError: if the file can't be joined.
    """
    if per == PREFIX:
        return _by_prefix(table)
    files = JoinedFiles(join) if join is not None else None
    columns = Columns(extras, files)
    kind = plain(columns.find("per", per).type)
    if not (is_text(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        raise ConfigError(f"--per {per}: is {kind}; name a column of text or whole numbers")
    wanted = columns.joined([per])
    columns.load(files.read(sorted(wanted)) if files and wanted else {})
    values = columns.complete(table, [per])[per]
    flags = ("--join", absolute(join)) if join is not None and wanted else ()
    return Parting(label=per, sql=_quoted(per), values=values, empty=UNMATCHED, flags=flags)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


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
