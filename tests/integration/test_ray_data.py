"""A keep-list as a filter of Ray Data, on real Ray."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
import ray
import ray.data

from pipeline.curation import keep
from pipeline.curation.curate import curate
from pipeline.curation.settings import FilterConfig
from tests.fakes import FakeScorer
from tests.runs import write_run
from tests.samples import write_shards


@pytest.fixture(scope="module")
def cluster() -> Generator[None]:
    """Ray on this machine."""
    ray.init(address="local", num_cpus=2, include_dashboard=False)
    yield
    ray.shutdown()


@pytest.mark.usefixtures("cluster")
def test_ray_data_keeps_the_better_half(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "corpus", shards=2, samples=4)
    write_run(shards, tmp_path / "scores", FakeScorer())
    curate(
        FilterConfig(
            annotations=str(tmp_path / "scores"), output=str(tmp_path / "kept"), keep_top=0.5
        )
    )
    kept = keep(str(tmp_path / "kept"))
    paths = [str(path) for path in sorted(shards.glob("*.tar"))]
    rows = ray.data.read_webdataset(paths, include_paths=True).filter(kept.has).take_all()
    assert len(rows) == 4
    assert all(kept.has(row) for row in rows)
