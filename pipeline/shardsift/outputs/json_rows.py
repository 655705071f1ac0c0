"""Rows of annotations as JSON, a column at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute

pc: Any = pyarrow.compute  # its functions are made at import, unseen by type checkers


def fields_of(table: Any) -> Sequence[str]:
    """Spell each row's fields as JSON does: `"quality": 0.71, …`."""
    pairs = (
        pc.binary_join_element_wise(f'"{name}": ', pc.fill_null(as_json(table[name]), "null"), "")
        for name in table.column_names
    )
    return pc.binary_join_element_wise(*pairs, ", ").to_pylist()


def as_json(column: Any) -> Any:
    """Spell values as JSON does: floats in as few digits as they need, hashes in hexadecimal ones.

    Not every reader of JSON knows integers of 64 bits.
    """
    column = hexadecimal(column)
    if pa.types.is_string(column.type):
        texts = column.to_pylist()
        return pa.array([None if t is None else json.dumps(t) for t in texts], pa.string())
    return column.cast(pa.string())


def hexadecimal(column: Any) -> Any:
    """Return hashes in hexadecimal digits, dictionaries as plain text, and others as they are."""
    kind = column.type
    if pa.types.is_fixed_size_binary(kind):
        return pa.array([value and value.hex() for value in column.to_pylist()], pa.string())
    if pa.types.is_uint64(kind):
        return pa.array(
            [None if h is None else f"{h:016x}" for h in column.to_pylist()], pa.string()
        )
    return column.cast(pa.string()) if pa.types.is_dictionary(kind) else column
