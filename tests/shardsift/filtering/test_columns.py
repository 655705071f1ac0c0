"""Any column decides: annotations' own, attributes, and those of other tools that are joined."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardsift.config import Attributes
from shardsift.config.filter_settings import FilterConfig
from shardsift.errors import ConfigError, ErrorCode, InputError
from shardsift.filtering.query import FilterResult, curate
from shardsift.outputs.run_folder import RunFolder
from shardsift.verification.keep_lists import verify_filtered
from tests.generated import row, write_annotations

TEXT: Attributes = {"text": (("text", "no text"),)}


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    """Qualities rise, the attribute falls; the fourth row has no score."""
    rows = [row(n, n / 10, attributes={"text": 1 - n / 10}) for n in range(8)]
    rows[3] = row(3, ErrorCode.TRUNCATED)
    return write_annotations(tmp_path / "scores", {"a.tar": rows}, attributes=TEXT)


def keep(scores: Path, output: Path, **settings: Any) -> FilterResult:
    fields = {"annotations": str(scores), "output": str(output)}
    return curate(FilterConfig.model_validate(fields | settings))


def kept_keys(output: Path) -> list[str]:
    return pq.ParquetFile(output / "keep-list" / "a.parquet").read()["key"].to_pylist()


def others(folder: Path, **columns: Any) -> str:
    """Write another tool's values of the samples."""
    table = pa.table({"key": [f"k{n}" for n in range(8)], **columns})
    pq.write_table(table, folder / "others.parquet")
    return str(folder / "others.parquet")


def test_an_attribute_ranks(scores: Path, tmp_path: Path) -> None:
    found = keep(scores, tmp_path / "kept", by="attr_text", keep_count=2)
    assert kept_keys(tmp_path / "kept") == ["k0", "k1"]
    assert found.threshold == 0.9
    keep(scores, tmp_path / "again", by="attr_text", min=0.9)
    assert kept_keys(tmp_path / "again") == ["k0", "k1"]


@pytest.mark.parametrize("kind", ["int16", "int64", "uint64", "float32", "float64", "float16"])
def test_a_joined_column_ranks_whatever_its_numbers_are(
    kind: str, scores: Path, tmp_path: Path
) -> None:
    ranks = np.array([5, 1, 7, 9, 2, 2, 0, 3]).astype(kind)
    join = others(tmp_path, aesthetic=pa.array(ranks))
    found = keep(scores, tmp_path / "kept", by="aesthetic", join=join, keep_count=3)
    assert kept_keys(tmp_path / "kept") == ["k0", "k2", "k7"]  # k3 has no score
    assert found.threshold == 3
    found = keep(scores, tmp_path / "above", by="aesthetic", join=join, min=1.5)
    assert kept_keys(tmp_path / "above") == ["k0", "k2", "k4", "k5", "k7"]
    assert found.threshold == (2 if "int" in kind else 1.5)


def test_large_integers_are_told_apart(scores: Path, tmp_path: Path) -> None:
    """In float64 these are one number."""
    numbers = [2**62 + n for n in range(8)]
    join = others(tmp_path, views=pa.array(numbers))
    found = keep(scores, tmp_path / "kept", by="views", join=join, keep_count=1)
    assert (kept_keys(tmp_path / "kept"), found.threshold) == (["k7"], 2**62 + 7)
    verified = verify_filtered(RunFolder(str(tmp_path / "kept")))
    assert verified.problems == []


def test_rows_without_a_value_are_left_out_and_counted(scores: Path, tmp_path: Path) -> None:
    join = others(tmp_path, clip=[0.1, None, float("nan"), 0.4, 0.5, 0.6, 0.7, float("inf")])
    found = keep(scores, tmp_path / "kept", by="clip", join=join, keep_top=0.8)
    assert kept_keys(tmp_path / "kept") == ["k4", "k5", "k6", "k7"]
    assert (found.summary.without_value, found.summary.below_threshold) == (2, 1)
    assert found.summary.rows == 8
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
    assert (
        found.summary.excluded_by_where,
        found.summary.duplicates,
        found.summary.below_threshold,
    ) == (1, 2, 2)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"by": "qualty"}, "--by 'qualty': no column qualty; did you mean quality"),
        ({"by": "clip"}, "no column clip; "),
        ({"by": "key"}, "--by 'key': is VARCHAR; name a column of numbers"),
        ({"by": "attr_text", "min_quality": 0.5, "keep_top": None}, "--min-quality is of quality"),
        ({"by": "attr_text", "random": 3}, "--random ranks by chance; use it only with --keep-top"),
        ({"on": "key"}, "--on names the key of a --join"),
        ({"join": "others.parquet"}, "--join is for --by, --where, --unique or --per"),
    ],
)
def test_what_cannot_rank_is_refused(
    rule: dict[str, Any], says: str, scores: Path, tmp_path: Path
) -> None:
    with pytest.raises((ConfigError, ValueError), match=says):
        keep(scores, tmp_path / "kept", **({"keep_top": 0.5} | rule))
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    ("by", "kept"),
    [
        ("quality - 2 * attr_text", ["k6", "k7"]),
        ("-index", ["k0", "k1"]),
        ("CASE WHEN key = 'k4' THEN 1.5 ELSE q_mag END", ["k0", "k4"]),
        ("CAST(index * 0.1 AS DECIMAL(9, 1))", ["k6", "k7"]),
        ("length(uid) + phash", []),
    ],
)
def test_an_expression_ranks(by: str, kept: list[str], scores: Path, tmp_path: Path) -> None:
    if not kept:
        with pytest.raises(InputError, match="has a score and has a value of"):
            keep(scores, tmp_path / "kept", by=by, keep_count=2)
        return
    found = keep(scores, tmp_path / "kept", by=by, keep_count=2)
    assert kept_keys(tmp_path / "kept") == kept
    keep(scores, tmp_path / "again", by=by, min=found.threshold)
    assert kept_keys(tmp_path / "again") == kept


@pytest.mark.parametrize(
    ("by", "least", "kept"),
    [
        ("index", -5, 7),
        ("index", 5.5, 2),
        ("CAST(index AS UBIGINT)", -1, 7),
        ("index", 1e300, 0),
        ("quality + 0", 1e300, 0),
        ("CAST(quality AS DOUBLE)", -1e300, 7),
    ],
)
def test_a_threshold_may_lie_far_from_all_values(
    by: str, least: float, kept: int, scores: Path, tmp_path: Path
) -> None:
    if kept:
        found = keep(scores, tmp_path / "kept", by=by, min=least)
        assert found.summary.kept == kept
        return
    with pytest.raises(InputError, match=r"reaches the threshold|no sample is so good"):
        keep(scores, tmp_path / "kept", by=by, min=least)


def test_a_yes_ranks_before_a_no(scores: Path, tmp_path: Path) -> None:
    keep(scores, tmp_path / "kept", by="index IN (2, 5)", keep_count=2)
    assert kept_keys(tmp_path / "kept") == ["k2", "k5"]


def test_an_expression_makes_groups(scores: Path, tmp_path: Path) -> None:
    keep(scores, tmp_path / "groups", unique="nullif(index // 2, 0)", keep_top=1)
    assert kept_keys(tmp_path / "groups") == ["k0", "k1", "k2", "k5", "k7"]
    found = keep(scores, tmp_path / "kept", per="quality > 0.45", keep_top=0.5)
    assert kept_keys(tmp_path / "kept") == ["k2", "k4", "k6", "k7"]
    named = {group.name: (group.rows, group.kept) for group in found.summary.groups}
    assert named == {"false": (4, 2), "true": (3, 2)}


def test_chance_takes_as_many_and_the_same_in_any_order_of_files(
    scores: Path, tmp_path: Path
) -> None:
    rows = [row(n, n / 100) for n in range(100)]
    shards = {"a.tar": rows, "b.tar": rows}
    kept: list[list[tuple[str, int]]] = []
    for place, (order, seed) in enumerate(
        [(["a.tar", "b.tar"], 5), (["b.tar", "a.tar"], 5), (["a.tar", "b.tar"], 6)]
    ):
        own = write_annotations(tmp_path / f"s{place}", {name: shards[name] for name in order})
        found = keep(own, tmp_path / f"k{place}", random=seed, keep_top=0.3)
        assert (found.summary.kept, found.threshold) == (60, None)
        files = sorted((tmp_path / f"k{place}" / "keep-list").glob("*.parquet"))
        tables = [pq.ParquetFile(file).read() for file in files]
        kept.append([(r["shard"], r["index"]) for t in tables for r in t.to_pylist()])
    assert kept[0] == kept[1] != kept[2]
    best = {n for _, n in kept[0] if n >= 70}
    assert len(best) < 40, "quality has no say"
