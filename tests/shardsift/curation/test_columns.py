"""Any column decides: annotations' own, attributes, and those of other tools that are joined."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardsift.annotations.folder import RunFolder
from shardsift.config import Extras
from shardsift.curation.curate import FilterResult, curate
from shardsift.curation.filter_config import FilterConfig
from shardsift.curation.verify import verify_filtered
from shardsift.errors import ConfigError, ErrorCode, InputError
from tests.generated import row, write_annotations

TEXT = Extras(attributes={"text": (("text", "no text"),)})


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    """Qualities rise, the attribute falls; the fourth row has no score."""
    rows = [row(n, n / 10, attributes={"text": 1 - n / 10}) for n in range(8)]
    rows[3] = row(3, ErrorCode.TRUNCATED)
    return write_annotations(tmp_path / "scores", {"a.tar": rows}, extras=TEXT)


def keep(scores: Path, output: Path, **settings: Any) -> FilterResult:
    fields = {"annotations": str(scores), "output": str(output)}
    return curate(FilterConfig.model_validate(fields | settings))


def kept_keys(output: Path) -> list[str]:
    return pq.ParquetFile(output / "keep-list" / "a.parquet").read()["key"].to_pylist()


def others(folder: Path, **columns: Any) -> str:
    """What another tool says of the samples."""
    table = pa.table({"key": [f"k{n}" for n in range(8)], **columns})
    pq.write_table(table, folder / "others.parquet")
    return str(folder / "others.parquet")


def test_an_attribute_ranks(scores: Path, tmp_path: Path) -> None:
    found = keep(scores, tmp_path / "kept", by="attr_text", keep_count=2)
    assert kept_keys(tmp_path / "kept") == ["k0", "k1"]
    assert found.threshold.value == 0.9
    keep(scores, tmp_path / "again", by="attr_text", min=0.9)
    assert kept_keys(tmp_path / "again") == ["k0", "k1"]


def test_an_attribute_is_a_condition(scores: Path, tmp_path: Path) -> None:
    keep(scores, tmp_path / "kept", where="attr_text < 0.65", keep_top=1)
    assert kept_keys(tmp_path / "kept") == ["k4", "k5", "k6", "k7"]


@pytest.mark.parametrize("kind", ["int16", "int64", "uint64", "float32", "float64", "float16"])
def test_a_joined_column_ranks_whatever_its_numbers_are(
    kind: str, scores: Path, tmp_path: Path
) -> None:
    ranks = np.array([5, 1, 7, 9, 2, 2, 0, 3]).astype(kind)
    join = others(tmp_path, aesthetic=pa.array(ranks))
    found = keep(scores, tmp_path / "kept", by="aesthetic", join=join, keep_count=3)
    assert kept_keys(tmp_path / "kept") == ["k0", "k2", "k7"]  # k3 has no score
    assert found.threshold.value == 3
    found = keep(scores, tmp_path / "above", by="aesthetic", join=join, min=1.5)
    assert kept_keys(tmp_path / "above") == ["k0", "k2", "k4", "k5", "k7"]
    assert found.threshold.value == (2 if "int" in kind else 1.5)


def test_large_integers_are_told_apart(scores: Path, tmp_path: Path) -> None:
    """In float64 these are one number."""
    numbers = [2**62 + n for n in range(8)]
    join = others(tmp_path, views=pa.array(numbers))
    found = keep(scores, tmp_path / "kept", by="views", join=join, keep_count=1)
    assert (kept_keys(tmp_path / "kept"), found.threshold.value) == (["k7"], 2**62 + 7)
    verified = verify_filtered(RunFolder(str(tmp_path / "kept")))
    assert verified.problems == []


def test_rows_without_a_value_are_left_out_and_counted(scores: Path, tmp_path: Path) -> None:
    join = others(tmp_path, clip=[0.1, None, float("nan"), 0.4, 0.5, 0.6, 0.7, float("inf")])
    found = keep(scores, tmp_path / "kept", by="clip", join=join, keep_top=0.8)
    assert kept_keys(tmp_path / "kept") == ["k4", "k5", "k6", "k7"]
    assert found.counts
    assert (found.counts.valueless, found.counts.below) == (2, 1)
    assert found.counts.rows == 8
    told = (tmp_path / "kept" / "_summary.json").read_text()
    assert '"without_value": 2' in told


def test_a_condition_sees_joined_columns_and_unmatched_rows_are_null(
    scores: Path, tmp_path: Path
) -> None:
    table = pa.table({"key": ["k1", "k5", "k7"], "NSFW flag": [False, True, False], "lang": "ede"})
    table = table.set_column(2, "lang", pa.array(["en", "de", "en"]))
    pq.write_table(table, tmp_path / "others.parquet")
    join = str(tmp_path / "others.parquet")
    keep(
        scores, tmp_path / "kept", where="lang = 'en' AND NOT \"nsfw flag\"", join=join, keep_top=1
    )
    assert kept_keys(tmp_path / "kept") == ["k1", "k7"]
    keep(scores, tmp_path / "rest", where="lang IS NULL", join=join, keep_top=1)
    assert kept_keys(tmp_path / "rest") == ["k0", "k2", "k4", "k6"]


def test_of_a_column_that_both_have_annotations_is_meant(scores: Path, tmp_path: Path) -> None:
    nested = [{"a": n} for n in range(8)]  # which nobody asks for
    join = others(tmp_path, Quality=[9.0] * 8, other=list(range(8)), nested=nested)
    keep(scores, tmp_path / "kept", where="QUALITY < 0.3 AND other > 0", join=join, keep_top=1)
    assert kept_keys(tmp_path / "kept") == ["k1", "k2"]


def test_one_file_is_joined_for_everything(scores: Path, tmp_path: Path) -> None:
    join = others(
        tmp_path,
        aesthetic=[8, 7, 6, 5, 4, 3, 2, 1],
        cluster=list("aabbccdd"),
        source=["x"] * 4 + ["y"] * 4,
        nsfw=[True] + [False] * 7,
    )
    found = keep(
        scores,
        tmp_path / "kept",
        by="aesthetic",
        unique="cluster",
        per="source",
        where="NOT nsfw",
        join=join,
        keep_top=0.5,
    )
    assert kept_keys(tmp_path / "kept") == ["k1", "k4"]
    assert found.counts
    assert (found.counts.excluded, found.counts.duplicates, found.counts.below) == (1, 2, 2)


def test_two_types_in_one_folder_are_refused(scores: Path, tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    for name, values in (("0", [1]), ("1", [1.5])):
        table = pa.table({"key": [f"k{name}"], "clip": values})
        pq.write_table(table, tmp_path / "others" / f"{name}.parquet")
    with pytest.raises(InputError, match=r"1\.parquet: clip is double, and int64 in .*0\.parquet"):
        keep(scores, tmp_path / "k", by="clip", join=str(tmp_path / "others"), keep_top=1)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"by": "qualty"}, "--by qualty: no such column; did you mean quality"),
        ({"by": "clip"}, "--join names a Parquet file with further ones"),
        ({"by": "key"}, "--by key: is string; name a column of numbers"),
        ({"by": "attr_text", "min_quality": 0.5, "keep_top": None}, "--min-quality is of quality"),
        ({"by": "attr_text", "approximate": True}, "it knows nothing of --by"),
        ({"join": "others.parquet"}, "--join is for --by, --where, --unique or --per"),
    ],
)
def test_what_cannot_rank_is_refused(
    rule: dict[str, Any], says: str, scores: Path, tmp_path: Path
) -> None:
    with pytest.raises((ConfigError, ValueError), match=says):
        keep(scores, tmp_path / "kept", **({"keep_top": 0.5} | rule))
    assert not (tmp_path / "kept").exists()
