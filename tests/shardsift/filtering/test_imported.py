"""Any Parquet with the columns of annotations can be filtered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardsift.config import Attributes
from shardsift.config.filter_settings import FilterConfig
from shardsift.errors import ErrorCode, InputError
from shardsift.filtering.query import curate
from tests.generated import row, write_annotations

TEXT: Attributes = {"text": (("text", "no text"),)}


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    rows = [row(n, (n % 4) / 4, attributes={"text": n / 10}) for n in range(9)]
    rows[3] = row(3, ErrorCode.TRUNCATED)
    shards = {"a/0.tar": rows, "b/1.tar": rows[:5]}
    return write_annotations(tmp_path / "scores", shards, attributes=TEXT)


def keep(annotations: Path | str, output: Path, **rule: Any) -> tuple[Any, list[Any]]:
    fields = {"annotations": str(annotations), "output": str(output), "keep_top": 0.5}
    found = curate(FilterConfig.model_validate(fields | rule))
    files = sorted((output / "keep-list").rglob("*.parquet"))
    return found, [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]


RULES: list[dict[str, Any]] = [
    {},
    {"where": "attr_text > 0.15", "errors": "keep"},
    {"by": "attr_text", "per": "prefix"},
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_copy_in_any_order_is_filtered_alike(
    rule: dict[str, Any], scores: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.parquet"
    query = f"SELECT * FROM '{scores}/**/*.parquet' ORDER BY hash(key, shard)"
    duckdb.execute(f"COPY ({query}) TO '{copy}'")
    before, expected = keep(scores, tmp_path / "kept", **rule)
    after, rows = keep(copy, tmp_path / "again", **rule)
    assert rows == expected
    assert after.summary == before.summary.model_copy(update={"fingerprint": "unknown"})
    assert after.threshold == before.threshold


def test_a_folder_in_parts_and_a_glob_are_tables_too(scores: Path, tmp_path: Path) -> None:
    query = f"SELECT *, width % 2 AS odd FROM '{scores}/**/*.parquet'"
    folder = tmp_path / "parts"
    duckdb.execute(f"COPY ({query}) TO '{folder}' (FORMAT parquet, PARTITION_BY odd)")
    _, expected = keep(scores, tmp_path / "kept")
    assert keep(folder, tmp_path / "one")[1] == expected
    assert keep(f"{folder}/**/*.parquet", tmp_path / "two")[1] == expected


def test_some_rows_and_few_columns_are_enough(tmp_path: Path) -> None:
    columns: dict[str, Any] = {"shard": ["a.tar"] * 3, "index": [7, 2, 5], "key": list("xyz")}
    columns["quality"] = [0.5, None, 0.9]
    pq.write_table(pa.table(columns), tmp_path / "few.parquet")
    found, rows = keep(tmp_path / "few.parquet", tmp_path / "kept", keep_top=1)
    assert [(r["key"], r["index"]) for r in rows] == [("z", 5), ("x", 7)]
    assert found.summary.rows == 3
    told = json.loads((tmp_path / "kept" / "_filter.json").read_text())
    assert told["annotations"] == str(tmp_path / "few.parquet")


def test_its_further_columns_decide_if_it_is_joined_too(tmp_path: Path) -> None:
    columns: dict[str, Any] = {"shard": ["a.tar"] * 3, "index": [0, 1, 2], "key": list("xyz")}
    columns |= {"quality": [0.1, 0.2, 0.3], "aes": [3, 1, 2]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    rule: dict[str, Any] = {"by": "aes", "keep_top": 0.3, "join": str(tmp_path / "t.parquet")}
    _, rows = keep(tmp_path / "t.parquet", tmp_path / "kept", **rule)
    assert [r["key"] for r in rows] == ["x"]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"shard": ["a.tar"], "index": [0], "key": ["k"]}, "has no column quality"),
        (
            {"shard": ["a.tar"] * 2, "index": [0, 0], "key": ["k"] * 2, "quality": [0.5] * 2},
            "twice",
        ),
        ({"shard": [None], "index": [0], "key": ["k"], "quality": [0.5]}, "1 rows without a shard"),
        ({"shard": ["a.tar"], "index": [-1], "key": ["k"], "quality": [0.5]}, "without a shard"),
        (
            {"shard": ["a"], "index": [0], "key": ["k"], "quality": [0.5]},
            "'a' is not a shard's name",
        ),
        ({"shard": ["a.tar"], "index": ["x"], "key": ["k"], "quality": [0.5]}, "can't be read as"),
    ],
)
def test_what_are_no_annotations_is_refused(
    columns: dict[str, Any], says: str, tmp_path: Path
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(InputError) as error:
        keep(tmp_path / "t.parquet", tmp_path / "kept")
    assert says in str(error.value)
    assert "t.parquet" in str(error.value)
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("shard", ["../../out.tar", "/tmp/out.tar", "a/../b.tar", "_own.tar"])
def test_no_name_of_a_shard_leads_elsewhere(shard: str, tmp_path: Path) -> None:
    columns: dict[str, Any] = {"shard": [shard], "index": [0], "key": ["k"], "quality": [0.5]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="can't be in the name of a shard"):
        keep(tmp_path / "t.parquet", tmp_path / "kept", keep_top=1)
    assert not (tmp_path / "kept").exists()
