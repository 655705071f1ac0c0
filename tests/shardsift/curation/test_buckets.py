"""Shares within the values of a joined column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardsift.curation.buckets import UNMATCHED
from shardsift.curation.curate import curate
from shardsift.curation.filter_config import FilterConfig
from shardsift.errors import InputError
from tests.generated import row, write_annotations


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    """Two shards with the same keys."""
    shards = {
        shard: [row(n, n / 8, uid=f"{shard}{n}") for n in range(8)] for shard in ("a.tar", "b.tar")
    }
    return write_annotations(tmp_path / "scores", shards)


def counts(scores: Path, joined: Path, **settings: Any) -> dict[str, tuple[int, int]]:
    fields = {"annotations": str(scores), "dry_run": True, "keep_top": 0.5, "per": "domain"}
    config = FilterConfig.model_validate(fields | {"join": str(joined)} | settings)
    return {b.name: (b.rows, b.kept) for b in curate(config).threshold.buckets}


def test_rows_are_joined_by_uid(scores: Path, tmp_path: Path) -> None:
    table = {
        "uid": [f"{shard}{n}" for shard in ("a.tar", "b.tar") for n in range(7)],
        "domain": ["news"] * 6 + [None] + ["blogs"] * 4 + ["news"] * 3,
    }
    pq.write_table(pa.table(table), tmp_path / "domains.parquet")
    assert counts(scores, tmp_path / "domains.parquet") == {
        "news": (9, 4),
        "blogs": (4, 2),
        UNMATCHED: (3, 2),
    }


def test_shard_and_key_go_before_uid_and_numbers_are_names(scores: Path, tmp_path: Path) -> None:
    table = {
        "shard": ["a.tar"] * 8 + ["b.tar"] * 8,
        "key": [f"k{n}" for n in range(8)] * 2,
        "uid": ["the same"] * 16,
        "domain": [1] * 8 + [2] * 8,
    }
    pq.write_table(pa.table(table), tmp_path / "domains.parquet")
    assert counts(scores, tmp_path / "domains.parquet") == {"1": (8, 4), "2": (8, 4)}


def test_a_folder_is_joined_as_one(scores: Path, tmp_path: Path) -> None:
    for place, domain in enumerate(("x", "y")):
        keys = [f"k{n}" for n in range(4 * place, 4 * place + 4)]
        (tmp_path / "domains").mkdir(exist_ok=True)
        pq.write_table(
            pa.table({"key": keys, "domain": [domain] * 4}),
            tmp_path / "domains" / f"{place}.parquet",
        )
    assert counts(scores, tmp_path / "domains") == {"x": (8, 4), "y": (8, 4)}


@pytest.mark.parametrize("keys", [["uid"], ["shard", "key"]], ids="+".join)
def test_a_null_key_matches_nothing(keys: list[str], tmp_path: Path) -> None:
    samples = [row(0, 0.1, uid=None), row(1, 0.2, uid=""), row(2, 0.3, uid="u")]
    scores = write_annotations(tmp_path / "scores", {"a.tar": samples})
    table = {
        "uid": [None, "u", None],
        "shard": ["a.tar", "a.tar", None],
        "key": [None, "k2", "k1"],
        "domain": ["x", "y", "z"],
    }
    pq.write_table(pa.table(table).select([*keys, "domain"]), tmp_path / "domains.parquet")
    found = counts(scores, tmp_path / "domains.parquet", keep_top=1)
    assert found == {"y": (1, 1), UNMATCHED: (2, 2)}


def test_keys_that_are_all_null_join_nothing(scores: Path, tmp_path: Path) -> None:
    table = pa.table({"uid": pa.nulls(3, pa.string()), "domain": ["x", "y", "z"]})
    pq.write_table(table, tmp_path / "domains.parquet")
    assert counts(scores, tmp_path / "domains.parquet") == {UNMATCHED: (16, 8)}


def test_a_value_spelled_as_the_unmatched_has_its_own_bucket(scores: Path, tmp_path: Path) -> None:
    table = {"key": ["k0", "k1", "k2"], "domain": [UNMATCHED, f"({UNMATCHED})", None]}
    pq.write_table(pa.table(table), tmp_path / "domains.parquet")
    assert counts(scores, tmp_path / "domains.parquet") == {
        UNMATCHED: (2, 1),
        f"({UNMATCHED})": (2, 1),
        f"(({UNMATCHED}))": (12, 6),
    }


@pytest.mark.parametrize("kind", ["large_string", "dictionary"])
def test_text_joins_however_it_is_kept(kind: str, scores: Path, tmp_path: Path) -> None:
    keys: Any = pa.array(["k0", "k1"])
    keys = keys.dictionary_encode() if kind == "dictionary" else keys.cast(kind)
    pq.write_table(pa.table({"key": keys, "domain": keys}), tmp_path / "domains.parquet")
    found = counts(scores, tmp_path / "domains.parquet", keep_top=1)
    assert found == {"k0": (2, 2), "k1": (2, 2), UNMATCHED: (12, 12)}


@pytest.mark.parametrize("kind", ["uint8", "int32", "int64"])
def test_a_file_without_keys_joins_by_shard_and_index(
    kind: str, scores: Path, tmp_path: Path
) -> None:
    shards = pq.read_table(next(iter(sorted(scores.rglob("[!_]*.parquet")))))["shard"][:2]
    index = pa.array([1, 0], kind)
    table = pa.table({"shard": shards.cast("string"), "index": index, "domain": ["x", "y"]})
    pq.write_table(table, tmp_path / "domains.parquet")
    found = counts(scores, tmp_path / "domains.parquet", keep_top=1)
    assert found == {"x": (1, 1), "y": (1, 1), UNMATCHED: (14, 14)}


def test_every_file_of_a_folder_is_checked(scores: Path, tmp_path: Path) -> None:
    (tmp_path / "domains").mkdir()
    for place, keys in enumerate((["k0"], [1])):
        table = pa.table({"key": keys, "domain": ["x"]})
        pq.write_table(table, tmp_path / "domains" / f"{place}.parquet")
    with pytest.raises(InputError, match=r"1\.parquet: key is int64"):
        counts(scores, tmp_path / "domains")


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"key": ["k1"], "domains": ["x"]}, "no column domain; did you mean domains?"),
        ({"name": ["k1"], "domain": ["x"]}, "neither uid nor key"),
        ({"key": ["k1", "k1"], "domain": ["x", "y"]}, "says two things about 1 rows"),
        ({"key": pa.array([], "string"), "domain": pa.array([], "string")}, "holds no rows"),
        ({"key": [1, 2], "domain": ["x", "y"]}, "key is int64, and in annotations it is text"),
        ({"shard": ["a"], "index": [0.0], "domain": ["x"]}, "index is double, and in annotations"),
        ({"uid": [b"1"], "domain": ["x"]}, "uid is binary, and in annotations it is text"),
        ({"key": ["k1"], "domain": [["x"]]}, "domain is list<element: string>, whose values can"),
        ({"key": ["k1"], "domain": [{"x": 1}]}, "domain is struct<x: int64>, whose values"),
        ({"key": ["k1"], "domain": [b"\xff"]}, "domain is binary, whose values can"),
        (
            {"key": [f"k{n}" for n in range(20_000)], "domain": list(range(20_000))},
            "makes over 16,384 buckets",
        ),
    ],
)
def test_what_cannot_be_joined_is_refused(
    table: dict[str, Any], says: str, scores: Path, tmp_path: Path
) -> None:
    pq.write_table(pa.table(table), tmp_path / "domains.parquet")
    with pytest.raises(InputError) as error:
        counts(scores, tmp_path / "domains.parquet")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["nowhere.parquet", "nowhere", "text.parquet"])
def test_a_file_that_is_not_there_is_refused(name: str, scores: Path, tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no Parquet")
    with pytest.raises(InputError, match=name):
        counts(scores, tmp_path / name)
