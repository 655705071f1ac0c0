"""Runs are compared sample by sample, whatever each of them lacks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shardsift.errors import InputError
from shardsift.records import CropScores, ImageScore, RgbImage
from shardsift.reporting.comparison import compare, measure_overlap
from tests.fakes import FakeScorer, fake_score
from tests.generated import write_annotations
from tests.outputs import write_run
from tests.samples import write_shards

KEEP_TOPS = (0.1, 0.3, 0.5, 0.7)


class BrighterScorer(FakeScorer):
    """Gives each image a tenth more than the fake does."""

    fingerprint = "brighter"

    def score(self, images):  # type: ignore[no-untyped-def]
        """Yield the fake scores, raised."""
        for image in images:
            yield raised(image)


def raised(image: RgbImage) -> ImageScore:
    score = fake_score(image)
    quality = score.per_crop.quality + np.float32(0.1)
    crops = CropScores(quality=quality, q_sim=quality, q_mag=quality, w_sim=quality)
    return ImageScore(per_crop=crops)


@pytest.fixture(name="runs", scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    write_shards(folder / "shards", shards=2, samples=15)
    run_a = write_run(folder / "shards", folder / "a", FakeScorer())
    return run_a, write_run(folder / "shards", folder / "b", BrighterScorer())


def test_equal_runs_keep_the_same(runs: tuple[Path, Path]) -> None:
    comparison = compare(str(runs[0]), str(runs[0]), KEEP_TOPS)
    assert (comparison.scored, comparison.max_absolute, comparison.srcc) == (30, 0.0, 1.0)
    assert all(overlap.of_kept == overlap.jaccard == 1.0 for overlap in comparison.overlaps)
    assert comparison.largest == []
    assert comparison.settings == {}


def test_a_shift_changes_scores_and_not_what_is_kept(runs: tuple[Path, Path]) -> None:
    comparison = compare(str(runs[0]), str(runs[1]), KEEP_TOPS)
    assert comparison.mean == pytest.approx(0.1, abs=1e-6)
    assert comparison.fingerprints == ("fake-scorer", "brighter")
    assert comparison.srcc == pytest.approx(1.0)
    assert len(comparison.largest) == 10
    assert all(overlap.jaccard == 1.0 for overlap in comparison.overlaps)


def test_shards_of_one_run_alone_are_counted(runs: tuple[Path, Path], tmp_path: Path) -> None:
    for name in ("00000.parquet", "_run.json"):
        (tmp_path / name).write_bytes((runs[0] / name).read_bytes())
    comparison = compare(str(runs[0]), str(tmp_path), KEEP_TOPS)
    assert (comparison.shards_only_a, comparison.shards_only_b) == (1, 0)
    assert comparison.samples == 15


def test_overlap_is_what_sets_say() -> None:
    a = np.arange(10.0)
    overlap = measure_overlap(a, np.roll(a, 1), 0.3)  # keeps 7 8 9, and 8 9 and the first
    assert overlap.of_kept == pytest.approx(2 / 3)
    assert overlap.jaccard == pytest.approx(2 / 4)


def test_runs_over_other_shards_are_refused(runs: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no annotations here"):
        compare(str(runs[0]), str(tmp_path), KEEP_TOPS)
    other = write_annotations(tmp_path / "other", {"another.tar": [0.5]})
    with pytest.raises(InputError, match="same shard"):
        compare(str(runs[0]), str(other), KEEP_TOPS)
