"""The best of equal pictures stays, and the others are counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardsift.config.filter_settings import FilterConfig
from shardsift.errors import ConfigError, ErrorCode, InputError
from shardsift.filtering.query import FilterResult, curate
from tests.generated import Annotation, row, write_annotations

Sample = tuple[float | ErrorCode, int | None]
"""A quality and a phash."""


def rows_of(samples: Sequence[Sample]) -> list[Annotation]:
    return [row(n, quality, phash=phash) for n, (quality, phash) in enumerate(samples)]


def written(folder: Path, shards: Mapping[str, Sequence[Sample]]) -> Path:
    rows = {shard: rows_of(samples) for shard, samples in shards.items()}
    return write_annotations(folder, rows)


def keep(scores: Path, output: Path | None, **settings: Any) -> FilterResult:
    fields = {"annotations": str(scores), "output": output and str(output), "keep_top": 1}
    fields |= {"dry_run": output is None, "unique": "phash"}
    return curate(FilterConfig.model_validate(fields | settings))


def kept_keys(output: Path) -> list[str]:
    files = sorted((output / "keep-list").rglob("*.parquet"))
    return [key for file in files for key in pq.ParquetFile(file).read()["key"].to_pylist()]


@pytest.mark.parametrize("column", ["sha256", "uid", "image_ext", "width", "cluster"])
def test_any_column_of_text_or_integers_makes_groups(column: str, tmp_path: Path) -> None:
    """The first two are equal, in two shards; the joined column makes clusters, as SemDeDup's."""
    values: dict[str, list[Any]] = {
        "sha256": [b"a" * 32, b"a" * 32, b"a" * 16 + b"b" * 16],
        "uid": ["x" * 40, "x" * 40, "x" * 39 + "y"],
        "image_ext": ["jpg", "jpg", "png"],
        "width": [640, 640, 641],
        "cluster": [-1, -1, 2],
    }
    values["sha256"][2] = b"c" + b"a" * 31
    rows = [
        row(n, 0.5 + n / 10, **({} if column == "cluster" else {column: values[column][n]}))
        for n in range(3)
    ]
    scores = write_annotations(tmp_path / "scores", {"a.tar": rows})
    joined = pa.table({"key": ["k0", "k1", "k2"], "cluster": values["cluster"]})
    pq.write_table(joined, tmp_path / "clusters.parquet")
    files = {"join": str(tmp_path / "clusters.parquet")} if column == "cluster" else {}
    found = keep(scores, tmp_path / "kept", unique=column, **files)
    assert kept_keys(tmp_path / "kept") == ["k1", "k2"]
    assert found.summary.duplicates == 1


def test_hashes_that_were_not_asked_for_are_told(tmp_path: Path) -> None:
    scores = written(tmp_path / "scores", {"a.tar": [(0.9, None)]})
    with pytest.raises(InputError, match="has one; score with --hashes phash"):
        keep(scores, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    ("column", "says"),
    [("phsh", "did you mean phash"), ("quality", "is FLOAT; name text, or integers")],
)
def test_a_column_that_makes_no_groups_is_refused(column: str, says: str, tmp_path: Path) -> None:
    scores = written(tmp_path / "scores", {"a.tar": [(0.9, 1)]})
    with pytest.raises(ConfigError, match=says):
        keep(scores, None, unique=column)
