"""The digest of a table depends on all of its values, and on nothing else."""

from __future__ import annotations

import hashlib
import struct

import pyarrow as pa
import pytest

from shardsift.outputs.digest import TableDigest, digest_of

TABLE = pa.table(
    {
        "key": pa.array(["a", "bc", "", None], pa.string()),
        "shard": pa.array(["x", "y", "x", None]).dictionary_encode(),
        "index": pa.array([1, -2, None, 4], pa.int32()),
        "quality": pa.array([0.5, None, -0.0, 3.0], pa.float32()),
    }
)


def test_it_is_what_the_documentation_says() -> None:
    """`docs/reference/files.md`, in plain Python."""

    def column(name: str, is_there: list[int], sizes: bytes, values: bytes) -> bytes:
        parts = bytes(is_there), sizes, values
        return name.encode() + b"\0" + b"".join(hashlib.sha256(part).digest() for part in parts)

    whole = (
        column("key", [1, 1, 1, 0], struct.pack("<4I", 1, 2, 0, 0), b"abc")
        + column("shard", [1, 1, 1, 0], struct.pack("<4I", 1, 1, 1, 0), b"xyx")
        + column("index", [1, 1, 0, 1], b"", struct.pack("<4i", 1, -2, 0, 4))
        + column("quality", [1, 0, 1, 1], b"", struct.pack("<4f", 0.5, 0, -0.0, 3))
    )
    assert digest_of(TABLE) == hashlib.sha256(whole).hexdigest()


def test_how_the_table_lies_in_memory_changes_nothing() -> None:
    plain = TABLE.set_column(1, "shard", TABLE["shard"].cast(pa.string()))
    assert digest_of(plain) == digest_of(TABLE)
    digest = TableDigest(TABLE.schema)
    for begin in range(4):
        digest.add(TABLE.slice(begin, 1))
    assert digest.hexdigest() == digest_of(TABLE)
    doubled = pa.concat_tables([TABLE, TABLE]).slice(2, 4)
    digest = TableDigest(TABLE.schema)
    digest.add(doubled)
    assert digest.hexdigest() == digest_of(doubled.combine_chunks())


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("key", ["ab", "c", "", None]),
        ("key", ["a", "bc", None, ""]),
        ("shard", ["x", "y", "x", ""]),
        ("index", [1, -2, 0, 4]),
        ("index", [-2, 1, None, 4]),
        ("quality", [0.5, None, 0.0, 3.0]),
    ],
)
def test_any_other_value_changes_it(column: str, values: list[object]) -> None:
    place = TABLE.schema.get_field_index(column)
    kind = pa.string() if column == "shard" else TABLE.schema.field(column).type
    changed = TABLE.set_column(place, column, pa.array(values, kind))
    assert digest_of(changed) != digest_of(TABLE)
    renamed = TABLE.rename_columns([name if name != column else "z" for name in TABLE.schema.names])
    assert digest_of(renamed) != digest_of(TABLE)
