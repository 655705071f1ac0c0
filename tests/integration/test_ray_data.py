"""The documentation's Python that needs Ray, on real Ray: the first page, and Ray Data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from shardsift import ErrorCode, Scorer, keep
from shardsift.config.filter_settings import FilterConfig
from shardsift.filtering.query import curate
from tests.documentation import blocks_of
from tests.fakes import FakeScorer
from tests.outputs import write_run
from tests.samples import picture, write_shards

FIRST, *_ = blocks_of("docs/how-to/python.md", "python")
KEEPING, SCORING = [
    block
    for page in ("docs/how-to/loaders.md", "docs/how-to/python.md")
    for block in blocks_of(page, "python")
    if "import ray" in block
]

pytestmark = pytest.mark.usefixtures("local_ray")


def test_the_first_lines_that_people_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # Ray was started in another folder, and so were its workers
    picture().save("a.jpg")
    picture(seed=1).save("b.png")
    write_shards(tmp_path / "corpus", shards=2, samples=4)
    printed: list[Any] = []

    def show(*values: Any) -> None:
        printed.extend(values)

    exec(FIRST, {"print": show})
    quality, per_crop, *rest = printed
    scores, broken, (threshold, samples, is_sound), problem = (
        rest[:3],
        rest[3:6],
        rest[6:9],
        *rest[9:],
    )
    assert quality == pytest.approx(per_crop.mean())
    assert scores == [quality, quality, Scorer("compact")("b.png").quality]
    assert broken == [quality, ErrorCode.UNSUPPORTED_FORMAT, ErrorCode.MISSING_IMAGE]
    assert 0 < threshold < 1
    assert (samples, is_sound) == (4, True)
    assert str(problem) == "nowhere/*.tar: no shard matches"


def test_ray_data_scores_as_the_scorer_does(
    tmp_path: Path,
) -> None:
    (tmp_path / "photos").mkdir()
    pictures = [picture(240 + 50 * n, 260, seed=n) for n in range(5)]
    for n, one in enumerate(pictures):
        one.save(tmp_path / "photos" / f"{n}.png")
    # Workers of a cluster that was started elsewhere have another working directory.
    exec(SCORING.replace('"photo', f'"{tmp_path}/photo'), {})
    scored = pq.read_table(tmp_path / "photo-scores").sort_by("path")
    expected = Scorer("compact").score(pictures)
    assert [Path(path).stem for path in scored["path"].to_pylist()] == ["0", "1", "2", "3", "4"]
    assert scored["quality"].to_pylist() == pytest.approx(
        [score.quality for score in expected], abs=1e-6
    )


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
    exec(KEEPING, names)
    rows: list[dict[str, Any]] = names["dataset"].take_all()
    assert len(rows) == 4
    assert all(kept.has(row) for row in rows)
