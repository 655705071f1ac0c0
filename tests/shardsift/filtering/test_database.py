"""A lack of memory or disk is reported in one line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from shardsift.errors import AnnotationError, UserError, WriteError
from shardsift.filtering import database as module
from shardsift.filtering.database import Database, QueryError, equal_runs

LARGE = "CREATE TABLE large AS SELECT i, hash(i) AS h, hash(i + 1) AS g FROM range(4_000_000) r(i)"


def small(monkeypatch: pytest.MonkeyPatch, megabytes: int) -> Database:
    monkeypatch.setattr(module, "_MEMORY", f"{megabytes}MiB")
    return Database()


def test_what_does_not_fit_memory_spills(monkeypatch: pytest.MonkeyPatch) -> None:
    with small(monkeypatch, 50) as database:
        database.run(LARGE)
        assert database.run("SELECT count(DISTINCT i) FROM large") == [(4_000_000,)]


def test_a_full_scratch_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise duckdb.IOException('IO Error: Could not write file "x": No space left on device')

    with Database() as database:
        monkeypatch.setattr(database, "_connection", FakeConnection(fail))
        with pytest.raises(WriteError) as error:
            database.run("SELECT 1")
    assert "the folder of temporary files" in str(error.value)
    assert "set TMPDIR" in str(error.value)


class FakeConnection:
    """A connection on which a disk is full, for none can be filled here."""

    def __init__(self, execute: object) -> None:
        self.execute = execute

    def cursor(self) -> FakeConnection:
        return self

    def close(self) -> None:
        """Do nothing."""


def test_too_little_memory_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with small(monkeypatch, 10) as database, pytest.raises(UserError) as error:
        database.run("SELECT list(h) FROM (SELECT hash(i) AS h FROM range(9_000_000) r(i))")
    assert "filter needs more memory than it may take, 10MiB of" in str(error.value)
    assert "\n" not in str(error.value)


def test_an_error_of_what_is_read_is_raised_as_it_is() -> None:
    def batches() -> Iterator[Any]:
        yield pa.record_batch({"a": [1]})
        raise AnnotationError("0.parquet: is damaged")

    with Database() as database:
        source = database.stream(pa.schema([("a", pa.int64())]), batches())
        with pytest.raises(AnnotationError, match=r"0\.parquet: is damaged"):
            database.run("SELECT sum(a) FROM source", {"source": source})


def test_no_other_file_can_be_read(tmp_path: Path) -> None:
    for name in ("one.csv", "other.csv"):
        (tmp_path / name).write_text("a\n1\n")
    with Database([str(tmp_path / "one.csv")]) as database:
        assert database.run(f"SELECT * FROM read_csv('{tmp_path}/one.csv')") == [(1,)]
        for query in (
            f"SELECT * FROM read_csv('{tmp_path}/other.csv')",
            f"COPY (SELECT 1) TO '{tmp_path}/new.csv'",
            "SET enable_external_access = true",
            "SET memory_limit = '1TB'",
            "INSTALL httpfs",
        ):
            with pytest.raises(QueryError):
                database.run(query)


def test_runs_of_equal_values_are_gathered_over_batches() -> None:
    batches = [pa.record_batch({"a": a, "b": a}) for a in (["x", "x"], [], ["x", "y"], ["z"])]
    found = [
        (value, table["b"].to_pylist())
        for value, table in equal_runs(batches[:1] + batches[2:], "a")
    ]
    assert found == [("x", ["x", "x", "x"]), ("y", ["y"]), ("z", ["z"])]
    assert list(equal_runs([], "a")) == []


def test_memory_is_half_of_what_the_process_may_have() -> None:
    sizes = "SELECT current_setting('memory_limit')"
    with Database() as database, duckdb.connect() as usual:
        ((ours,),), ((theirs,),) = database.run(sizes), usual.execute(sizes).fetchall()
    share = float(ours.split()[0]) / float(theirs.split()[0])
    assert share == pytest.approx(0.5 / 0.8, rel=0.02), "DuckDB takes four fifths"
