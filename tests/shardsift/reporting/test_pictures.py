"""Pictures are those of the tars, within the bytes that a page has for them."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shardsift.reporting.axes import choose_evenly, make_axes, make_labels, order_of
from shardsift.reporting.gather import RunData, gather
from shardsift.reporting.pictures import Fetching, Patches, bytes_each, choose, fetch
from tests.fakes import FakeScorer
from tests.outputs import write_run
from tests.samples import saved, write_shards, write_tar


@pytest.fixture(name="run", scope="module")
def a_run(tmp_path_factory: pytest.TempPathFactory) -> RunData:
    folder = tmp_path_factory.mktemp("run")
    write_shards(folder / "shards", shards=3, samples=20)
    write_tar(folder / "shards" / "bad.tar", [("bad.jpg", b"no image"), ("none.txt", b"")])
    return gather(str(write_run(folder / "shards", folder / "scores", FakeScorer())))


def chosen(run: RunData, count: int) -> list[int]:
    return choose(run, order_of(run), make_axes(run), make_labels(run), count)


def rows(run: RunData, places: list[int]) -> list[dict[str, Any]]:
    return run.table.take(places).to_pylist()


def decoded(uri: str | None) -> Image.Image:
    assert uri
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_they_are_spread_over_quality_and_in_order(run: RunData) -> None:
    quality = run.numbers("quality")
    places = chosen(run, 12)
    assert len(set(places)) == 12
    values = quality[places]
    assert (np.diff(values) >= 0).all()
    ranks = np.searchsorted(np.sort(quality[np.isfinite(quality)]), values)
    assert ranks.min() < 10
    assert ranks.max() >= 50
    assert len(chosen(run, 1000)) == 60  # those without a score can't be shown


def test_even_places_are_the_middles_of_equal_parts() -> None:
    assert choose_evenly(range(10), 2) == [2, 7]
    assert choose_evenly(range(3), 5) == [0, 1, 2]


def test_they_come_from_the_tars(run: RunData) -> None:
    pictures, problem = fetch(rows(run, chosen(run, 8)), Fetching(root=run.root, bytes_each=9_000))
    assert problem is None
    for picture in pictures:
        assert decoded(picture.preview).size[0] == min(picture.row["width"], 320)
        assert decoded(picture.cut).size == (min(224, picture.row["width"]), 224)


def test_missing_tars_are_told(run: RunData, tmp_path: Path) -> None:
    how = Fetching(root=str(tmp_path), bytes_each=9_000)
    pictures, problem = fetch(rows(run, chosen(run, 8)), how)
    assert problem
    assert problem.startswith("8 of 8 pictures are missing")
    assert all(picture.preview is None for picture in pictures)


def test_noise_takes_no_more_bytes_than_it_may(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (900, 1200, 3), np.uint8)
    write_tar(tmp_path / "in" / "a.tar", [("a.png", saved(Image.fromarray(noise)))])
    scorer = FakeScorer()
    scorer.config = scorer.config.model_copy(update={"max_pixels": 1 << 22})
    run = gather(str(write_run(tmp_path / "in", tmp_path / "scores", scorer)))
    ((picture,), _) = fetch(rows(run, [0]), Fetching(root=run.root, bytes_each=20_000))
    assert picture.preview
    assert picture.cut
    assert len(picture.preview + picture.cut) < 1.34 * 20_000 + 100


def test_the_part_at_full_size_is_the_worst_patch(tmp_path: Path) -> None:
    pixels = np.zeros((480, 608, 3), np.uint8)
    pixels[128:352, 256:480] = (250, 10, 10)
    write_tar(tmp_path / "in" / "a.tar", [("a.png", saved(Image.fromarray(pixels)))])
    run = gather(str(write_run(tmp_path / "in", tmp_path / "scores", FakeScorer())))
    quality = np.full((3, 4), 0.5, np.float32)
    quality[1, 2] = 0.1
    patches = Patches(tops=[0, 128, 256], lefts=[0, 128, 256, 384], quality=quality)
    how = Fetching(root=run.root, bytes_each=9_000, lay_out=lambda images, _: [patches])
    ((picture,), _) = fetch(rows(run, [0]), how)
    assert picture.cut_at == (256, 128)
    assert np.asarray(decoded(picture.cut).convert("RGB"))[..., 0].min() > 220


def test_bytes_are_divided_among_pictures() -> None:
    assert bytes_each(4_000_000, 240) == 12_500
    assert bytes_each(4_000_000, 10_000) == 6_000
    assert bytes_each(4_000_000, 1) == 24_000
