"""The published numbers, whatever the batch."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from shardsift import Scorer
from shardsift.errors import ConfigError, ErrorCode, ImageError, InputError
from shardsift.records import ImageScore, RgbImage
from tests.conftest import Golden
from tests.notebooks import shown_as
from tests.samples import encoded, picture

CUES = {"score": "quality", "q_sim": "q_sim", "q_mag": "q_mag", "w_sim": "w_sim"}
CROP_CUES = {"crop_score": "quality", "crop_q_sim": "q_sim", "crop_q_mag": "q_mag"}


def bits(score: ImageScore) -> list[bytes]:
    return [getattr(score.per_crop, cue).tobytes() for cue in CUES.values()]


def score_all(golden: Golden, batch_size: int = 64) -> list[ImageScore]:
    scorer = Scorer(golden.config, batch_size=batch_size)
    return list(scorer.score(golden.image(row) for row in golden.rows))


def test_float32_is_within_1e_5_of_the_published_code_per_image_and_crop(golden: Golden) -> None:
    for row, score in zip(golden.rows, score_all(golden), strict=True):
        assert score.crops == row["crops"]
        for theirs, ours in CUES.items():
            assert getattr(score, ours) == pytest.approx(row[theirs], abs=1e-5)
        for theirs, ours in CROP_CUES.items():
            np.testing.assert_allclose(
                getattr(score.per_crop, ours), row[theirs], rtol=0, atol=1e-5
            )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_16_bit_is_within_0_01_per_image(golden: Golden, dtype: str) -> None:
    rows = golden.rows if dtype == "bfloat16" else golden.rows[:3]  # which CPUs do slowly
    scores = Scorer(golden.config.model_copy(update={"dtype": dtype})).score(
        map(golden.image, rows)
    )
    for row, score in zip(rows, scores, strict=True):
        for theirs, ours in CUES.items():
            assert getattr(score, ours) == pytest.approx(row[theirs], abs=0.01)


def noise(views: int, seed: int) -> RgbImage:
    """A picture of so many views: patches beside each other, and the whole."""
    width = 224 + 128 * (views - 2) if views > 1 else 200
    return np.random.default_rng(seed).integers(0, 256, (224, width, 3), np.uint8)


@pytest.mark.parametrize(("dtype", "step"), [("float32", 3), ("bfloat16", 13)])
def test_a_picture_alone_and_in_company_agrees_to_the_bit_for_many_counts_of_views(
    golden: Golden, dtype: str, step: int
) -> None:
    scorer = Scorer(golden.config.model_copy(update={"dtype": dtype}))
    counts = range(1, 41, step)
    images = [noise(views, seed=views) for views in counts]
    np.random.default_rng(35).shuffle(images)
    alone = [bits(score) for image in images for score in scorer.score([image])]
    together = list(scorer.score(images))
    assert sorted(score.crops for score in together) == list(counts)
    assert [bits(score) for score in together] == alone


def test_images_may_be_scored_on_the_way(golden: Golden) -> None:
    """As by whoever drops duplicates, or crops, by a score of their own."""
    scorer = Scorer(golden.config, batch_size=8)
    images = [noise(views=3, seed=seed) for seed in range(6)]
    expected = [bits(score) for score in scorer.score(images)]
    inner: list[list[bytes]] = []

    def scored_before() -> Iterator[RgbImage]:
        for image in images:
            inner.extend(map(bits, scorer.score([image])))
            yield image

    assert [bits(score) for score in scorer.score(scored_before())] == expected
    assert inner == expected


def test_a_buffer_that_every_image_lies_in_in_turn_is_scored_as_it_was(golden: Golden) -> None:
    """As by a reader of frames, which fills one array again and again."""
    scorer = Scorer(golden.config)
    images = [noise(views=2, seed=seed) for seed in range(5)]

    def frames() -> Iterator[RgbImage]:
        buffer = np.empty_like(images[0])
        for image in images:
            buffer[:] = image
            yield buffer

    assert list(map(bits, scorer.score(frames()))) == list(map(bits, scorer.score(images)))


def test_images_are_taken_as_scores_are_needed(golden: Golden) -> None:
    """A shard's images never are in memory together."""
    taken = 0

    def images() -> Iterator[RgbImage]:
        nonlocal taken
        for _ in range(50):
            taken += 1
            yield np.zeros((100, 100, 3), np.uint8)  # one crop each

    scores = Scorer(golden.config, batch_size=4).score(images())
    next(scores)
    assert taken == 4


@pytest.mark.parametrize("crops", ["paper", "fast", "global"])
def test_small_images_are_scored_whole_in_every_plan(golden: Golden, crops: str) -> None:
    config = golden.config.model_copy(update={"crops": crops})
    sizes = [(100, 300), (224, 223), (1, 1)]
    scores = list(Scorer(config).score(np.zeros((*size, 3), np.uint8) for size in sizes))
    assert [score.crops for score in scores] == [1, 1, 1]
    assert all(np.isfinite(score.quality).all() for score in scores)


def test_it_serves_ray_data(golden: Golden) -> None:
    batch = {"image": [golden.image(row) for row in golden.rows[:2]], "name": ["a", "b"]}
    scored = Scorer(golden.config)(batch)
    assert list(scored["name"]) == ["a", "b"]
    np.testing.assert_allclose(
        scored["quality"], [row["score"] for row in golden.rows[:2]], atol=1e-5
    )


def test_the_fingerprint_follows_what_changes_a_score(golden: Golden) -> None:
    base = Scorer(golden.config).fingerprint
    for change in (
        {"alpha": 2.0},
        {"crops": "global"},
        {"dtype": "bfloat16"},
        {"pretrained": "random"},
    ):
        assert Scorer(golden.config.model_copy(update=change)).fingerprint != base
    assert Scorer(golden.config, batch_size=3).fingerprint == base


def test_auto_takes_the_dtype_of_the_device_and_its_fingerprint(golden: Golden) -> None:
    auto = Scorer(golden.config.model_copy(update={"dtype": "auto"}))
    assert auto.config.dtype == "float32"
    assert auto.fingerprint == Scorer(golden.config).fingerprint


def test_one_picture_has_one_score_whatever_it_is_given_as(golden: Golden, tmp_path: Path) -> None:
    scorer, image = Scorer(golden.config), golden.image(golden.rows[0])
    path = tmp_path / "picture.png"
    Image.fromarray(image).save(path)
    file = path.read_bytes()
    (expected,) = scorer.score([image])
    by_hugging_face = [{"bytes": file, "path": None}, {"bytes": None, "path": str(path)}]
    files: list[Any] = [path, str(path), file, bytearray(file), memoryview(file), *by_hugging_face]
    for given in (image, Image.fromarray(image), Image.open(path), *files):
        assert bits(scorer(given)) == bits(expected)
        assert [bits(score) for score in scorer([given, given])] == [bits(expected)] * 2
    assert scorer([]) == []


def test_a_score_is_the_mean_of_its_crops_as_a_number() -> None:
    scorer = Scorer("compact", attributes={"text": [("text", "no text")]}, embeddings=True)
    score = scorer(np.asarray(picture(300, 400)))
    assert score.crops == len(score.per_crop.quality) > 1
    for cue in CUES.values():
        assert getattr(score, cue) == float(getattr(score.per_crop, cue).mean())
    assert float(score) == score.quality
    assert score.attributes == {"text": float(score.per_crop.attributes[0].mean())}
    assert score.embedding.shape == (scorer.embedding_values,)


def test_a_broken_picture_is_an_error_in_its_place_if_asked_for() -> None:
    scorer, good = Scorer("compact", crop_plan="global"), np.asarray(picture())
    wrong: list[Any] = [b"", None, encoded()[:500], "gone.jpg", np.zeros((5, 5)), {"path": None}]
    codes = [ErrorCode.TRUNCATED, ErrorCode.MISSING_IMAGE, ErrorCode.TRUNCATED]
    codes += [ErrorCode.MISSING_IMAGE, ErrorCode.UNSUPPORTED_FORMAT, ErrorCode.MISSING_IMAGE]
    expected = bits(scorer(good))
    for given in ([good, *wrong, good, good], [*wrong, good], [good, *wrong], wrong):
        found = scorer(given, errors="return")
        assert [one.code for one in found if isinstance(one, ImageError)] == codes
        places = [bits(one) if isinstance(one, ImageScore) else None for one in found]
        assert places == [expected if one is good else None for one in given]
        with pytest.raises((ImageError, InputError)):
            scorer(given)


def test_settings_are_checked_and_stand_beside_a_configuration(golden: Golden) -> None:
    changed = Scorer(golden.config, crop_plan="global").config
    assert changed == golden.config.model_copy(update={"crops": "global"})
    wrong: list[tuple[Any, dict[str, Any], str]] = [
        ("compact", {"crop_plan": "huge"}, "crops huge: is not among paper, fast, global"),
        ("compact", {"dtype": "int8"}, "dtype int8: is not among"),
        (3, {}, "model 3: has to be text"),
    ]
    for model, settings, message in wrong:
        with pytest.raises(ConfigError, match=message):
            Scorer(model, **settings)
    with pytest.raises(ConfigError, match="errors 'ignore': is not among raise, return"):
        Scorer("compact")([], errors=cast(Any, "ignore"))


def test_an_error_in_the_middle_names_the_image(golden: Golden, tmp_path: Path) -> None:
    good, scorer = golden.image(golden.rows[0]), Scorer(golden.config)
    (tmp_path / "cut.jpg").write_bytes(encoded()[:500])
    lazy = Image.open(io.BytesIO(encoded()[:2000]))
    cases: list[tuple[Any, type[Exception], str]] = [
        (tmp_path / "cut.jpg", ImageError, r"/cut\.jpg: "),
        (tmp_path / "gone.jpg", InputError, r"/gone\.jpg: can't be read: No such file"),
        (np.zeros((5, 5)), InputError, "^image 2: float64 of shape"),
        (lazy, ImageError, "^image 2: "),
    ]
    for bad, kind, message in cases:
        with pytest.raises(kind, match=message):
            list(scorer.score([good, good, bad, good]))


def test_it_shows_itself_in_a_line(golden: Golden) -> None:
    scorer = Scorer(golden.config)
    assert re.fullmatch(
        r"Scorer\(\S+, crops='paper', dtype='float32', device='cpu', fingerprint='[0-9a-f]{16}'\)",
        repr(scorer),
    )
    score = scorer(golden.image(golden.rows[0]))
    row = golden.rows[0]
    told = f"ImageScore(quality={row['score']:.4f}, q_sim={row['q_sim']:.4f}, "
    assert repr(score).startswith(told)
    assert repr(score).endswith(f"crops={row['crops']})")
    assert f"<td>{row['score']:.4f}</td>" in shown_as("html", score)
