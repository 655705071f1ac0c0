"""A row a shard, and totals that add up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shardsift.errors import AnnotationError
from shardsift.outputs.manifest import ManifestWriter, read_manifest
from shardsift.outputs.sketch import quantile_sketch
from shardsift.records import FailedShard, ShardReport


def report(shard: str, rows: int = 10, **errors: int) -> ShardReport:
    qualities = np.linspace(0, 1, rows - sum(errors.values()), dtype=np.float32)
    return ShardReport(shard=shard, rows=rows, errors=errors, sketch=quantile_sketch(qualities))


def test_reports_come_back_and_failed_shards_are_told_apart(tmp_path: Path) -> None:
    reports = [report(f"{n}.tar", rows=n, truncated=n) for n in range(5000)]
    failed = FailedShard(shard="bad.tar", url="/bad.tar", reason="cut", attempts=3)
    url = str(tmp_path / "_manifest.arrow")
    with ManifestWriter() as manifest:
        for each in [*reports, failed]:
            manifest.add(each)
        manifest.commit(url)
    assert pa.ipc.open_file(url).read_all().num_rows == 5001
    found = list(read_manifest(url))
    assert [each.shard for each in found] == [each.shard for each in reports]
    assert found[3].errors == {"truncated": 3}


def test_totals_add_up() -> None:
    with ManifestWriter() as manifest:
        manifest.add(report("a.tar", rows=10, truncated=2))
        manifest.add(report("b.tar", rows=30, truncated=1, too_large=1))
        manifest.add(FailedShard(shard="c.tar", url="/c.tar", reason="cut", attempts=3))
        totals = manifest.totals.as_dict()
    assert (totals["shards"], totals["failed_shards"]) == (2, 1)
    assert (totals["rows"], totals["scored"]) == (40, 36)
    assert totals["errors"] == {
        "missing_image": 0,
        "unsupported_format": 0,
        "decode_error": 0,
        "truncated": 3,
        "too_large": 1,
        "too_slow": 0,
        "non_finite": 0,
    }
    assert totals["quality_quantiles"]["0.5"] == pytest.approx(0.5, abs=0.1)


def test_no_manifest_is_an_empty_one(tmp_path: Path) -> None:
    assert list(read_manifest(str(tmp_path / "gone.arrow"))) == []


def test_a_file_that_is_no_manifest_is_named(tmp_path: Path) -> None:
    (tmp_path / "odd.arrow").write_bytes(b"odd")
    with pytest.raises(AnnotationError, match=r"odd\.arrow"):
        list(read_manifest(str(tmp_path / "odd.arrow")))
