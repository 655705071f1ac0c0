"""A folder of annotations in numbers, though none of its rows is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardsift.errors import AnnotationError, ErrorCode, InputError
from shardsift.outputs.totals import read_stats
from tests.generated import Quality, damage_row_group, write_annotations

SHARDS: dict[str, list[Quality]] = {
    "laion/0.tar": [0.1, 0.2, 0.3, ErrorCode.TRUNCATED],
    "laion/1.tar": [0.4, ErrorCode.TRUNCATED, ErrorCode.TOO_LARGE],
    "coyo/0.tar": [0.9],
    "empty/0.tar": [],
}


@pytest.fixture(params=["manifest", "footers"])
def scores(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A run, finished or not; its rows can't be read."""
    folder = write_annotations(tmp_path / "scores", SHARDS, failed=["coyo/1.tar"])
    damage_row_group(folder / "laion" / "0.parquet", 0)
    if request.param == "footers":
        (folder / "_summary.json").unlink()
    return folder


def test_counts_in_all_and_by_prefix(scores: Path) -> None:
    stats = read_stats(str(scores))
    assert [(g.name, g.shards, g.rows, g.scored) for g in stats.groups] == [
        ("coyo", 1, 1, 1),
        ("empty", 1, 0, 0),
        ("laion", 2, 7, 4),
    ]
    assert stats.total.errors == {"truncated": 2, "too_large": 1}
    assert stats.failed == ["coyo/1.tar"]


def test_quantiles_are_exact_where_few_values_are(scores: Path) -> None:
    told = read_stats(str(scores)).as_dict()
    assert told["quality_quantiles"]["0.5"] == 0.3
    assert told["quality_range"] == [0.1, 0.9]
    assert told["rank_error"] == 0
    assert told["groups"][1]["quality_quantiles"] is None


def test_an_annotation_that_the_manifest_does_not_know_counts(tmp_path: Path) -> None:
    one = write_annotations(tmp_path / "one", {"a.tar": [0.5]})
    other = write_annotations(tmp_path / "other", {"b.tar": [0.6, 0.7]})
    (other / "b.parquet").replace(one / "b.parquet")
    assert read_stats(str(one)).total.rows == 3


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no annotations here"):
        read_stats(str(tmp_path))
    (tmp_path / "a.parquet").write_text("text")
    with pytest.raises(AnnotationError, match=r"a\.parquet: not an annotation file"):
        read_stats(str(tmp_path))
