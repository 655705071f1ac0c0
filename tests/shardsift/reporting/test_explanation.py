"""The heat map lies where the patches lie, and the worst corner is found."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from shardsift.config import ScoreConfig
from shardsift.errors import InputError
from shardsift.records import RgbImage
from shardsift.reporting.explanation import draw, explain, lay_out
from shardsift.scoring.scorer import Scorer
from tests.notebooks import shown_as
from tests.samples import picture


@pytest.fixture(name="scorer", scope="module")
def the_bundled_scorer() -> Scorer:
    return Scorer(ScoreConfig(model="compact"))


def half_blurred(width: int = 480, height: int = 224) -> RgbImage:
    """Noise on the left, and the same noise blurred on the right."""
    random = np.random.default_rng(0)
    sharp = picture(width, height)
    grain = np.asarray(sharp).astype(int) + random.integers(-60, 60, (height, width, 1))
    image = np.clip(grain, 0, 255).astype(np.uint8)
    sharp = Image.fromarray(image)
    right = (width // 2, 0, width, height)
    sharp.paste(sharp.crop(right).filter(ImageFilter.GaussianBlur(6)), right)
    return np.asarray(sharp)


def test_pixels_have_the_mean_of_their_patches() -> None:
    heat = lay_out(np.array([0.2, 0.6, 0.9], np.float32), [(0, 0), (0, 128)], 230, 360)
    assert heat[0, 0] == pytest.approx(0.2)
    assert heat[100, 200] == pytest.approx(0.4)
    assert heat[223, 351] == pytest.approx(0.6)
    assert np.isnan(heat[229, 0])  # below the last row of patches
    assert np.isnan(heat[0, 359])


def test_an_image_without_patches_is_of_one_colour() -> None:
    assert np.unique(lay_out(np.array([0.7], np.float32), [], 100, 300)) == np.float32(0.7)


def test_rows_are_the_scores(scorer: Scorer) -> None:
    explanation = explain(half_blurred(), scorer, "clouds")
    rows = explanation.rows()
    assert list(rows) == ["mean", "0,0", "128,0", "256,0", "whole image"]
    qualities = [cues["quality"] for cues in rows.values()]
    assert qualities[0] == pytest.approx(np.mean(qualities[1:]), abs=1e-6)
    assert explanation.worst == int(np.argmin(qualities[1:-1]))


@pytest.mark.parametrize("size", [(480, 224), (100, 80), (3000, 230)])
def test_pictures_are_drawn(scorer: Scorer, size: tuple[int, int]) -> None:
    pytest.importorskip("matplotlib")
    width, height = size
    figure = draw(explain(half_blurred(width, height), scorer))
    figure.canvas.draw()
    assert len(figure.axes) == 3  # the picture, the heat map, the colour bar


def test_whatever_can_be_scored_can_be_explained(scorer: Scorer, tmp_path: Path) -> None:
    """The README said so of PIL images, which failed."""
    path = tmp_path / "clouds.png"
    Image.fromarray(half_blurred()).save(path)
    expected = explain(half_blurred(), scorer).rows()
    for given in (Image.open(path), path, str(path)):
        assert explain(given, scorer).rows() == expected
    assert explain(path, scorer).name == "clouds.png"
    with pytest.raises(InputError, match=r"gone\.png: can't be read"):
        explain(tmp_path / "gone.png", scorer)


def test_it_shows_itself_in_a_line_and_as_a_picture(scorer: Scorer) -> None:
    pytest.importorskip("matplotlib")
    explanation = explain(half_blurred(), scorer, "clouds")
    lowest = explanation.score.per_crop.quality[: len(explanation.corners)].min()
    assert repr(explanation) == (
        f"Explanation('clouds', 480x224, {explanation.score!r}, lowest={lowest:.4f})"
    )
    with Image.open(io.BytesIO(shown_as("png", explanation))) as shown:
        assert shown.width > 600
