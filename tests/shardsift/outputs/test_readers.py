"""Every Parquet reader can read a folder of annotations as a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import datasets
import duckdb
import pandas as pd
import polars as pl
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from shardsift.config.filter_settings import FilterConfig
from shardsift.filtering.query import curate
from shardsift.outputs.compaction import compact
from tests.fakes import FakeScorer
from tests.outputs import write_run
from tests.samples import encoded, write_tar

SHARDS = ("0.tar", "split=train/1.tar", "split=test/1.tar", "a b/ü [1].tar", "x" * 240 + ".tar")
SAMPLES = 3

Keys = list[tuple[str, str]]
"""Shard and key of each row, sorted."""

READERS: dict[str, Callable[[Path], Keys]] = {
    "pyarrow": lambda folder: pairs(pq.read_table(folder).to_pylist()),
    "pyarrow.dataset": lambda folder: pairs(
        pyarrow.dataset.dataset(str(folder), partitioning="hive").to_table().to_pylist()
    ),
    "duckdb": lambda folder: sorted(
        duckdb.execute(f"SELECT shard, key FROM '{folder}/**/*.parquet'").fetchall()
    ),
    "polars": lambda folder: pairs(pl.read_parquet(f"{folder}/**/*.parquet").to_dicts()),
    "pandas": lambda folder: pairs(pd.read_parquet(folder).to_dict("records")),
    "datasets": lambda folder: pairs(
        list(datasets.load_dataset(str(folder), split="train", streaming=True))
    ),
    "datasets, a glob": lambda folder: pairs(
        list(
            datasets.load_dataset(
                "parquet", data_files=f"{folder}/**/*.parquet", split="train", streaming=True
            )
        )
    ),
}


def pairs(rows: list[dict[str, str]]) -> Keys:
    return sorted((str(row["shard"]), str(row["key"])) for row in rows)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of annotations, compacted ones, and a keep-list; a shard was given up."""
    folder = tmp_path_factory.mktemp("readers")
    for shard in SHARDS:
        files = [(f"{n}.jpg", encoded(width=64, height=64, seed=n)) for n in range(SAMPLES)]
        write_tar(folder / "corpus" / shard, files)
    write_tar(folder / "corpus" / "empty.tar", [])
    (folder / "corpus" / "bad.tar").write_bytes(b"no tar")
    write_run(folder / "corpus", folder / "scores", FakeScorer())
    assert (folder / "scores" / "_failed" / "bad.json").exists()
    compact(str(folder / "scores"), str(folder / "few"))
    curate(
        FilterConfig(annotations=str(folder / "scores"), output=str(folder / "kept"), keep_top=1)
    )
    return folder


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["scores", "few", "kept/keep-list"])
def test_every_row_is_read_and_nothing_else(reader: str, name: str, outputs: Path) -> None:
    if (reader, name) == ("datasets", "few"):
        pytest.skip("it takes the extension that most files have, and there is one of annotations")
    expected = sorted((shard, str(n)) for shard in SHARDS for n in range(SAMPLES))
    assert READERS[reader](outputs / name) == expected


def test_embeddings_beside_annotations_are_in_nobody_s_way(outputs: Path, tmp_path: Path) -> None:
    class Embedding(FakeScorer):
        embedding_values = 4

    folder = write_run(outputs / "corpus", tmp_path / "scores", Embedding())
    assert len(list(folder.rglob("*.npy"))) == len(SHARDS) + 1
    expected = sorted((shard, str(n)) for shard in SHARDS for n in range(SAMPLES))
    for reader in READERS.values():
        assert reader(folder) == expected
