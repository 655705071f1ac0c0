"""The paper's protocol takes, resizes and computes as its authors' code does."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import optimize, stats
from torch import nn
from torchvision import transforms

from jobs.paper.config import ExperimentConfig
from jobs.paper.evaluation import Experiment, evaluate
from jobs.paper.protocol import measure_as_authors
from shardsift.errors import InputError
from shardsift.evaluation.agreement import MAGNITUDE, OURS, SIMILARITY
from shardsift.images.decode import decode_rgb
from shardsift.scoring.maclip import magnitude_cue, similarity_cue
from shardsift.scoring.scorer import Scorer
from tests.rated import write_rated_shard
from tests.samples import File, picture, write_tar

Values = NDArray[np.float64]


def large_photo(number: int) -> bytes:
    """A photograph of 640x500 that EXIF rotates; sharpness grows with the number."""
    exif = Image.Exif()
    exif[0x0112] = 6
    small = picture(width=8 * (number + 2), height=7 * (number + 2), seed=number)
    file = io.BytesIO()
    small.resize((640, 500)).save(file, "JPEG", exif=exif, quality=95)
    return file.getvalue()


@pytest.fixture(name="photos", scope="module")
def some_large_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files: list[File] = []
    for number in range(8):
        opinion = {"mos": 1500 - 10.0 * (number - 3) ** 2 + number}
        files += [(f"{number}.jpg", large_photo(number)), (f"{number}.json", as_json(opinion))]
    return write_tar(tmp_path_factory.mktemp("photos") / "photos.tar", files)


def as_json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).encode()


def evaluated(shard: Path, **changes: object) -> Experiment:
    return evaluate([str(shard)], experiment(**changes), {})


def experiment(**changes: object) -> ExperimentConfig:
    values = {"model": "compact", "resamples": 0, "shards": ("-",), "output": "-"}
    return ExperimentConfig.model_validate(values | changes)


def cues_of_authors(scorer: Scorer, data: bytes, side: int | None) -> tuple[float, float]:
    """Both cues by torchvision's transforms and torch's unfolding, as the published code has it."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    if side is not None:
        resize = transforms.Resize((side, side), transforms.InterpolationMode.BICUBIC)
        image = cast(Image.Image, resize(image))
    whole = cast(Any, transforms.ToTensor())(image)[None] * 255
    patches = nn.Unfold((224, 224), stride=128)(whole).view(3, 224, 224, -1).permute(3, 0, 1, 2)
    small = nn.functional.interpolate(whole, size=(224, 224), mode="bilinear", align_corners=False)
    features = scorer.encoder.encode(torch.cat([patches, small]))
    q_sim = similarity_cue(features, scorer.encoder.text_P2D, scorer.encoder.logit_scale)
    return float(q_sim.mean()), float(magnitude_cue(features, 0.5).mean())


@pytest.mark.parametrize(("iqa_set", "side"), [("spaq", 448), ("agiqa1k", 224), ("koniq10k", None)])
def test_large_pictures_are_scored_as_the_authors_score_them(
    iqa_set: str, side: int | None, photos: Path
) -> None:
    found = evaluated(photos, protocol="paper", iqa_set=iqa_set)
    scorer = Scorer(found.config.scoring())
    expected = [cues_of_authors(scorer, large_photo(number), side) for number in range(8)]
    cues = zip(found.predictions[SIMILARITY], found.predictions[MAGNITUDE], strict=True)
    assert np.allclose(list(cues), expected, atol=1e-5)


def test_natively_large_pictures_are_scored_as_score_does(photos: Path) -> None:
    found = evaluated(photos, iqa_set="spaq")
    scorer = Scorer(found.config.scoring())
    images = [decode_rgb(large_photo(number), 10**6) for number in range(8)]
    assert images[0].shape == (640, 500, 3), "upright"
    expected = [score.quality for score in scorer.score(images)]
    assert np.allclose(found.predictions[OURS], expected, atol=2e-6)
    resized = evaluated(photos, protocol="paper", iqa_set="spaq").predictions[OURS]
    assert np.abs(found.predictions[OURS] - resized).max() > 1e-3


def test_each_protocol_takes_its_own_sample(tmp_path: Path) -> None:
    shard = write_rated_shard(tmp_path / "0.tar", images=12)
    training = write_rated_shard(tmp_path / "1.tar", images=7, only_protocol="paper")
    for protocol, taken, left in (("native", 12, {"other_protocol": 7}), ("paper", 19, {})):
        config = experiment(iqa_set="livec", protocol=protocol)
        found = evaluate([str(shard), str(training)], config, {})
        assert (len(found.keys), dict(found.skipped)) == (taken, left)


def test_opinions_of_pipal_go_from_0_to_1(photos: Path) -> None:
    found = evaluated(photos, protocol="paper", iqa_set="pipal")
    native = evaluated(photos, iqa_set="pipal").opinions
    assert np.allclose(found.opinions, (native - native.min()) / np.ptp(native))
    assert found.as_authors[OURS].rmse < 1


def authors_numbers(predictions: Values, opinions: Values) -> tuple[float, float, float]:
    """SRCC, PLCC and RMSE by scipy, after the fit from the authors' own start."""

    def curve(x: Values, b1: float, b2: float, b3: float, b4: float, b5: float) -> Values:
        return b1 * (0.5 - 1 / (1 + np.exp(b2 * (x - b3)))) + b4 * x + b5

    start = [opinions.max(), opinions.min(), predictions.mean(), 0.1, 0.1]
    betas, _ = cast(Any, optimize.curve_fit)(curve, predictions, opinions, p0=start, maxfev=10_000)
    fitted = curve(predictions, *betas)
    return (
        float(cast(Any, stats.spearmanr(opinions, fitted))[0]),
        float(cast(Any, stats.pearsonr(opinions, fitted))[0]),
        float(np.sqrt(np.mean((fitted - opinions) ** 2))),
    )


@pytest.mark.parametrize("turned", [1.0, -1.0])
def test_statistics_are_those_of_the_authors(turned: float) -> None:
    random = np.random.default_rng(0)
    predictions = random.uniform(0.3, 0.9, 300)
    opinions = 3 + turned * 2 * np.tanh(6 * (predictions - 0.6)) + random.normal(0, 0.4, 300)
    found = measure_as_authors(predictions, opinions)
    expected = authors_numbers(predictions, opinions)
    assert (found.srcc, found.plcc, found.rmse) == pytest.approx(expected, abs=1e-6)
    assert found.srcc > 0.8, "of the fitted curve, which rises with opinions either way"


def test_a_fit_that_does_not_end_leaves_its_start_as_the_authors_do() -> None:
    unfitted: list[float] = []
    for seed in range(8):
        random = np.random.default_rng(seed)
        predictions = random.uniform(0.15, 0.9, 100)
        opinions = 1 + 3 * predictions + random.normal(0, 0.6, 100)
        found = measure_as_authors(predictions, opinions)
        if not found.has_fitted:  # a curve that is hardly more than a line
            unfitted.append(found.plcc - float(np.corrcoef(predictions, opinions)[0, 1]))
    assert np.abs(unfitted).max() < 1e-3, "none would be an error, too"


@pytest.mark.parametrize(
    ("iqa_set", "said"),
    [(None, "say which of its sets"), ("spaqq", "did you mean spaq"), ("ava", "no such set")],
)
def test_the_papers_protocol_wants_one_of_its_sets(iqa_set: str | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        experiment(protocol="paper", iqa_set=iqa_set)


def test_an_image_that_the_download_lacks_is_counted(tmp_path: Path) -> None:
    shard = write_rated_shard(tmp_path / "0.tar", images=12)
    lacking = write_tar(tmp_path / "1.tar", [("x.json", as_json({"mos": 3}))])
    found = evaluate([str(shard), str(lacking)], experiment(), {})
    assert found.skipped == {"missing_image": 1}
    with pytest.raises(InputError, match="too few"):
        evaluated(lacking)
