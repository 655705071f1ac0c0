"""All rows as a table that other programs read, with every digit."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import lance
import numpy as np
import pyarrow.parquet as pq
import pytest

from shardsift import annotate_shards
from shardsift.config.verb_settings import ExportConfig
from shardsift.errors import AnnotationError, ConfigError, OutputError
from shardsift.exporting.export import export
from tests.fakes import FakeScorer
from tests.outputs import edit_rows
from tests.samples import encoded, write_tar


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards with odd keys, a row without a score, and hashes."""
    folder = tmp_path_factory.mktemp("tables")
    keys = ('a, "b"', "line\nbreak", "Zürich")
    files = [(f"{key}.jpg", encoded(seed=seed)) for seed, key in enumerate(keys)]
    write_tar(folder / "in" / "0.tar", [*files, ("none.txt", b"no picture")])
    write_tar(folder / "in" / "1.tar", [("c.jpg", encoded(seed=9))])
    annotate_shards(folder / "in", FakeScorer(), folder / "scores", hashes=["sha256", "phash"])
    return folder / "scores"


def table(scores: Path, to: str, output: Path, **settings: Any) -> int:
    given = {"annotations": str(scores), "to": to, "output": str(output)}
    return export(ExportConfig.model_validate(given | settings)).rows


def rows_of(scores: Path) -> list[dict[str, Any]]:
    tables = map(pq.read_table, sorted(scores.glob("*.parquet")))
    return [row for table in tables for row in table.to_pylist()]


def expected(scores: Path) -> list[dict[str, Any]]:
    """The rows; hashes in hexadecimal digits."""
    rows = [
        row for path in sorted(scores.glob("*.parquet")) for row in pq.read_table(path).to_pylist()
    ]
    for row in rows:
        row["sha256"] = row["sha256"] and row["sha256"].hex()
        row["phash"] = None if row["phash"] is None else f"{row['phash']:016x}"
    return rows


def test_json_lines_have_all_columns_and_every_digit(scores: Path, tmp_path: Path) -> None:
    assert table(scores, "jsonl", tmp_path / "all.jsonl") == 5
    rows = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [
        {n: np.float32(v) if isinstance(v, float) else v for n, v in r.items()} for r in rows
    ] == (expected(scores))


def test_csv_tells_null_from_nothing_and_keeps_odd_keys(scores: Path, tmp_path: Path) -> None:
    columns = ["key", "quality", "error", "phash", "width"]
    assert table(scores, "csv", tmp_path / "some.csv", columns=",".join(columns)) == 5
    with (tmp_path / "some.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == columns
    told = [[row[name] for name in columns] for row in expected(scores)]
    texts = [["" if value is None else str(value) for value in row] for row in told]
    assert [[key, np.float32(quality or "nan"), *rest] for key, quality, *rest in rows] == [
        [key, pytest.approx(np.float32(quality or "nan"), nan_ok=True), *rest]
        for key, quality, *rest in texts
    ]
    query = f"SELECT key, error FROM '{tmp_path / 'some.csv'}'"
    duck = duckdb.execute(query).fetchall()
    assert duck == [(row["key"], row["error"]) for row in expected(scores)]


def test_a_name_with_gz_is_compressed_and_equal_rows_give_equal_bytes(
    scores: Path, tmp_path: Path
) -> None:
    for name in ("a.jsonl.gz", "b.jsonl.gz", "c.jsonl"):
        table(scores, "jsonl", tmp_path / name)
    first = (tmp_path / "a.jsonl.gz").read_bytes()
    assert first == (tmp_path / "b.jsonl.gz").read_bytes()
    assert gzip.decompress(first) == (tmp_path / "c.jsonl").read_bytes()


def test_lance_has_the_types_of_annotations(scores: Path, tmp_path: Path) -> None:
    assert table(scores, "lance", tmp_path / "scores.lance") == 5
    read = lance.dataset(str(tmp_path / "scores.lance")).to_table()
    for name in ("key", "shard", "quality", "sha256", "phash"):
        rows = [
            r for p in sorted(scores.glob("*.parquet")) for r in pq.read_table(p)[name].to_pylist()
        ]
        assert read[name].to_pylist() == rows
    with pytest.raises(OutputError, match="--overwrite to replace it"):
        table(scores, "lance", tmp_path / "scores.lance")
    assert table(scores, "lance", tmp_path / "scores.lance", overwrite=True) == 5


def test_a_file_that_is_there_stays(scores: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("mine")
    with pytest.raises(OutputError, match=r"mine\.csv: is there already; choose another --output"):
        table(scores, "csv", tmp_path / "mine.csv")
    assert table(scores, "csv", tmp_path / "mine.csv", overwrite=True) == 5


def test_a_column_that_isnt_there_is_named(scores: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--columns qualty: no such column; did you mean quality"):
        table(scores, "csv", tmp_path / "a.csv", columns="qualty")


@pytest.mark.parametrize("to", ["csv", "jsonl", "lance"])
def test_a_damaged_annotation_is_named_and_nothing_is_written(
    to: str, scores: Path, tmp_path: Path
) -> None:
    shutil.copytree(scores, tmp_path / "scores")
    path = tmp_path / "scores" / "1.parquet"
    edit_rows(path, lambda rows: rows[0].update(quality=float("nan")))
    with pytest.raises(AnnotationError, match=r"1\.parquet"):
        table(tmp_path / "scores", to, tmp_path / "all")
    assert not (tmp_path / "all").is_file()
