"""Bins and labels say of each row what their SQL says."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pytest

from shardsift.reporting.axes import NO_VALUE, Axis, make_axes, make_labels
from shardsift.reporting.gather import RunData, gather
from tests.generated import row, write_annotations, write_many


@pytest.fixture(name="run", scope="module")
def a_run(tmp_path_factory: pytest.TempPathFactory) -> RunData:
    return gather(str(write_many(tmp_path_factory.mktemp("many"), files=3, rows=4000)))


def condition(axis: Axis, code: int) -> str:
    terms = [f"{axis.sql} >= {axis.edges[code - 1]}"] if code else []
    terms += [f"{axis.sql} < {axis.edges[code]}"] if code < len(axis.edges) else []
    return " AND ".join(terms)


def test_each_bin_holds_what_duckdb_counts(run: RunData) -> None:
    """Also on the edges: a third of the qualities have three decimals, as edges do."""
    axes = make_axes(run)
    assert {axis.name for axis in axes} == {
        "quality",
        "q_sim",
        "q_mag",
        "quality_min",
        "side",
        "area",
    }
    for axis in axes:
        counts = np.bincount(axis.codes_N, minlength=256)
        assert 20 <= len(axis.edges) <= 61
        terms = ", ".join(
            f"count(*) FILTER ({condition(axis, code)})" for code in range(len(axis.edges) + 1)
        )
        (found,) = duckdb.execute(f"SELECT {terms} FROM '{run.url}/*.parquet'").fetchall()
        assert counts[: len(found)].tolist() == list(found)
        assert counts.sum() - sum(found) == counts[NO_VALUE]


def test_parts_formats_and_errors_are_labels(tmp_path: Path) -> None:
    shards = {name: [row(0, 0.5)] for name in ("b/1.tar", "b/c/1.tar", "2.tar", "it's/1.tar")}
    run = gather(str(write_annotations(tmp_path / "scores", shards)))
    group, form = make_labels(run)
    assert group.names == ["(top)", "b", "b/c", "it's"]
    assert group.literals == ["''", "'b'", "'b/c'", "'it''s'"]
    assert (form.names, form.rare) == (["jpg"], 0)
    for code, literal in enumerate(group.literals):
        rows = f"read_parquet('{run.url}/**/*.parquet')"
        (found,) = duckdb.execute(
            f"SELECT count(*) FROM {rows} WHERE {group.sql} = {literal}"
        ).fetchall()
        assert found == (int((group.codes_N == code).sum()),)


def test_of_many_labels_the_largest_have_a_code(tmp_path: Path) -> None:
    samples = [row(n, 0.5, image_ext=f"x{n % 300}") for n in range(450)]
    run = gather(str(write_annotations(tmp_path / "scores", {"a.tar": samples})))
    _, form = make_labels(run)
    assert (len(form.names), form.rare) == (200, 100)
    assert set(form.names) > {f"x{n}" for n in range(150)}
    assert (form.codes_N == NO_VALUE).sum() == 100
