"""A keep-list as a filter of Ray Data, on real Ray, as the README does it."""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import ray

from pipeline.curation import keep
from pipeline.curation.curate import curate
from pipeline.curation.settings import FilterConfig
from tests.fakes import FakeScorer
from tests.runs import write_run
from tests.samples import write_shards

README = (Path(__file__).parents[2] / "README.md").read_text()


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
    names: dict[str, Any] = {
        "shards": [str(path) for path in sorted(shards.glob("*.tar"))],
        "kept": kept,
    }
    (example,) = re.findall(r"```python\n(import ray\n.*?)```", README, re.DOTALL)
    exec(example, names)
    rows: list[dict[str, Any]] = names["dataset"].take_all()
    assert len(rows) == 4
    assert all(kept.has(row) for row in rows)
