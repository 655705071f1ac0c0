"""A condition means what it means in SQL: DuckDB is asked the same question."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from shardsift.annotations.parquet import read
from shardsift.curation.where import parse_where
from shardsift.errors import AnnotationError, ConfigError, ErrorCode
from tests.generated import damage_row_group, row, write_annotations


@pytest.fixture(scope="module")
def scored_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with scores, errors and nulls."""
    samples = [
        *(row(n, n / 40, height=50_000, width=50_000 + n) for n in range(40)),
        row(40, 0.7, uid=None, image_ext=None, key="it's"),
        row(41, ErrorCode.TRUNCATED),
    ]
    folder = write_annotations(tmp_path_factory.mktemp("where"), {"a.tar": samples})
    return str(folder / "a.parquet")


@pytest.mark.parametrize(
    "condition",
    [
        "width >= 50010",
        "width >= 50010 AND q_mag > 0.7",
        "quality = 0.7 OR quality < 0.1",
        "NOT (quality > 0.5)",
        "quality BETWEEN 0.2 AND 0.4",
        "width * 1.0 * height > 2500500000",
        "q_sim + q_mag / 2 > 0.7",
        "index / 2 = 2.5",
        "-1 < index AND index <> 3",
        "uid IS NULL",
        "uid IS NOT NULL AND NOT error IS NULL",
        "error IN ('truncated', 'too_large')",
        "key NOT IN ('k1', 'k2')",
        "uid NOT IN ('x')",
        "image_ext = 'jpg'",
        "image_ext != 'png'",
        "key LIKE 'k_' OR key LIKE '%1'",
        "key ILIKE 'K3%'",
        "key = 'it''s'",
        "0.5 <= quality",
        "quality_min >= q_mag",
        "w_sim = 0.5 and (crops = 1 or width is null)",
    ],
)
def test_it_picks_the_rows_that_duckdb_picks(condition: str, scored_file: str) -> None:
    query = f"SELECT index FROM '{scored_file}' WHERE {condition} ORDER BY index"
    expected = [index for (index,) in duckdb.connect().execute(query).fetchall()]
    picked = read(scored_file, ["index"], parse_where(condition))["index"].to_pylist()
    assert picked == expected
    assert 0 < len(picked) < 42, "a condition that picks all or nothing shows nothing"


def test_sizes_of_large_images_do_not_overflow(scored_file: str) -> None:
    picked = read(scored_file, ["index"], parse_where("width * height > 2500500000"))
    assert picked["index"].to_pylist() == list(range(11, 40))


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("widht >= 256", "no column widht; did you mean width?"),
        ('q_mag > "0.7"', "no column 0.7"),
        ("width >", "not a condition in SQL; see character"),
        ("width > 3 AND (", "not a condition in SQL"),
        ("", "not a condition in SQL"),
        ("width > 'wide'", "(int32, string)"),
        ("width + 3", "isn't understood"),
        ("lower(key) = 'a'", "LOWER(key) isn't understood"),
        ("key", "isn't understood"),
        ("width > 3; DROP TABLE annotations", "isn't understood"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(condition: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_where(condition)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_row_groups_that_cannot_match_are_not_read(tmp_path: Path) -> None:
    folder = write_annotations(tmp_path, {"a.tar": [0.5] * 2000})
    path = folder / "a.parquet"
    pq.write_table(pq.read_table(path), path, row_group_size=1000)
    damage_row_group(path, 1)
    with pytest.raises(AnnotationError, match="not a readable annotation file"):
        read(str(path))
    assert len(read(str(path), where=parse_where("index < 500"))) == 500
