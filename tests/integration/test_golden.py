"""The published numbers after the whole way: tar, Ray, Parquet."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from shardsift import Scorer
from shardsift.cli.console import PlainConsole
from shardsift.config import RunConfig
from shardsift.runs.score_run import score
from tests.conftest import Golden
from tests.samples import write_tar

TOLERANCE = 1e-5


@pytest.mark.usefixtures("local_ray")
def test_all_twelve_pictures_score_as_published_and_as_without_ray(
    golden: Golden, tmp_path: Path
) -> None:
    for number, rows in enumerate((golden.rows[:5], golden.rows[5:])):
        files = [(Path(row["image"]).name, golden.file(row).read_bytes()) for row in rows]
        write_tar(tmp_path / "in" / f"{number}.tar", files)
    settings = golden.config.model_dump() | {"gpus_per_actor": 0, "actors": 2}
    places = {"shards": [str(tmp_path / "in")], "output": str(tmp_path / "out")}
    score(RunConfig.model_validate(settings | places), PlainConsole(file=io.StringIO()))

    table = pq.read_table(tmp_path / "out").sort_by("key").to_pylist()
    published = {Path(row["image"]).stem: row for row in golden.rows}
    assert [row["key"] for row in table] == sorted(published)
    for row in table:
        theirs = published[row["key"]]
        assert row["crops"] == theirs["crops"]
        assert row["quality"] == pytest.approx(theirs["score"], abs=TOLERANCE)
        for cue in ("q_sim", "q_mag", "w_sim"):
            assert row[cue] == pytest.approx(theirs[cue], abs=TOLERANCE)
        assert row["quality_min"] == pytest.approx(min(theirs["crop_score"]), abs=TOLERANCE)

    # Two actors of one thread, against one process with all threads and another order.
    backwards = sorted(golden.rows, key=lambda row: Path(row["image"]).stem)[::-1]
    here = Scorer(golden.config, batch_size=7).score(map(golden.image, backwards))
    for row, score_here in zip(table[::-1], here, strict=True):
        for cue in ("quality", "q_sim", "q_mag", "w_sim"):
            assert row[cue] == pytest.approx(getattr(score_here, cue), abs=1e-6)
