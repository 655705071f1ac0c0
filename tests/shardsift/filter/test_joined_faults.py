"""Joins of `shared/faults/joins`, which once went wrong, have their right outcomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from shardsift.annotations.annotate_shards import annotate_shards
from shardsift.config.filter import FilterConfig
from shardsift.errors import UserError
from shardsift.filter.query import curate
from tests.conftest import SHARED
from tests.fakes import FakeScorer

JOINS = SHARED / "faults" / "joins"

pytestmark = pytest.mark.skipif(not JOINS.exists(), reason="shared/faults is not here")


def kept(name: str, tmp_path: Path, table: str = "m.parquet", **rule: Any) -> list[str]:
    """Keys of the samples that a rule keeps of the corpus of a fault."""
    scores, output = tmp_path / "scores", tmp_path / "kept"
    annotate_shards(JOINS / name, FakeScorer(), scores)
    fields = {"annotations": str(scores), "output": str(output), "join": str(JOINS / name / table)}
    curate(FilterConfig.model_validate(fields | {"keep_top": 1} | rule))
    files = sorted((output / "keep-list").rglob("*.parquet"))
    return [key for file in files for key in pq.ParquetFile(file).read()["key"].to_pylist()]


def refused(name: str, tmp_path: Path, table: str = "m.parquet", **rule: Any) -> str:
    with pytest.raises(UserError) as error:
        kept(name, tmp_path, table, **rule)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "kept").exists()
    return str(error.value)


def test_a_key_that_several_samples_have_is_refused(tmp_path: Path) -> None:
    told = refused("two-runs", tmp_path, "only-b.parquet", where="aes >= 3")
    assert "key 00000 names several samples, of a/00000.tar and b/00000.tar" in told
    assert "--on" in told


def test_nan_is_null(tmp_path: Path) -> None:
    assert kept("nan", tmp_path, where="aes > 4") == ["00002", "00004"]


def test_no_match_stops(tmp_path: Path) -> None:
    told = refused("no-match", tmp_path, where="nsfw IS NOT TRUE")
    assert "none of 6 rows is found by uid" in told
    assert "--on key would find 6" in told


def test_zero_is_a_uid(tmp_path: Path) -> None:
    assert kept("uid-0", tmp_path, by="aes", keep_top=None, keep_count=1) == ["00000"]
    uids = pq.ParquetFile(tmp_path / "scores" / "00000.parquet").read()["uid"].to_pylist()
    assert uids == list("012345")


def test_a_name_that_both_have_is_told_apart(tmp_path: Path) -> None:
    assert "joined.WIDTH" in refused("laion", tmp_path, where="WIDTH >= 1200")
    expected = ["00002", "00003", "00004", "00005"]
    assert kept("laion", tmp_path, where="joined.WIDTH >= 1200") == expected


def test_noise_is_no_group(tmp_path: Path) -> None:
    keys = kept("noise", tmp_path, unique="nullif(cluster, -1)")
    assert {"00000", "00001", "00002", "00005"} < {*keys}
    assert len(keys) == 5


def test_a_column_of_nulls_refuses_nobody(tmp_path: Path) -> None:
    assert kept("null-column", tmp_path, "m", where="aes > 0") == ["00000", "00001", "00002"]


def test_two_columns_of_one_name_are_one_line(tmp_path: Path) -> None:
    told = refused("twice", tmp_path, where="aes > 1")
    assert "m.parquet: has two columns of one name, aes" in told
