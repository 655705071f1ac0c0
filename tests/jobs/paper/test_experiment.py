"""Rated shards in, a table out: equal to `Scorer`'s scores and to scipy's statistics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs.paper.config import ExperimentConfig
from jobs.paper.evaluation import Experiment, evaluate
from jobs.paper.figures import bin_means, draw_figures
from jobs.paper.groups import GroupSpread, check_labels
from shardsift.errors import ConfigError, InputError, ModelError
from shardsift.evaluation.agreement import MAGNITUDE, OURS, SIMILARITY, laplacian_variance
from shardsift.evaluation.opinions import Baseline
from shardsift.images.decode import decode_rgb
from shardsift.records import RgbImage
from shardsift.scoring.scorer import Scorer
from shardsift.shards.tar_samples import read_tar
from tests.conftest import Golden
from tests.rated import write_rated_shard

BASELINES: dict[str, Baseline] = {"sharpness": laplacian_variance}


def experiment(**changes: object) -> ExperimentConfig:
    values = {"model": "compact", "max_pixels": 10**6, "shards": ("-",), "output": "-"}
    return ExperimentConfig.model_validate(values | changes)


@pytest.fixture(name="shard", scope="module")
def a_rated_shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rated_shard(tmp_path_factory.mktemp("rated") / "rated.tar", images=24)


@pytest.fixture(name="evaluation", scope="module")
def the_evaluation(shard: Path) -> Experiment:
    config = experiment(iqa_set="rated", group_field="kind", resamples=50, ablate=("all",))
    return evaluate([str(shard)], config, BASELINES)


def images_of(shard: Path) -> list[RgbImage]:
    samples = read_tar(str(shard))
    return [decode_rgb(s.image.data, 10**6) for s in samples if s.image and s.image.data]


def test_predictions_are_those_of_the_scorer(shard: Path, evaluation: Experiment) -> None:
    scorer = Scorer(experiment().scoring())
    scores = list(scorer.score(images_of(shard)))
    for name, cue in ((OURS, "quality"), (SIMILARITY, "q_sim"), (MAGNITUDE, "q_mag")):
        expected = [getattr(score, cue) for score in scores]
        assert np.allclose(evaluation.predictions[name], expected, atol=2e-6)
    assert evaluation.fingerprint == scorer.fingerprint


def test_ablations_change_one_setting(shard: Path, evaluation: Experiment) -> None:
    rows = {(row.family, row.name): row.agreement for row in evaluation.ablations}
    predictions = {(row.family, row.name): row.predictions for row in evaluation.ablations}
    assert rows["lambda", "λ = 0.5"].srcc.value == evaluation.agreements[OURS].srcc.value
    assert len([1 for family, _ in rows if family == "prompts"]) == 6
    assert rows["lambda", "λ = 1"] == rows["magnitude", "|f| / std, fused"]
    own = rows["magnitude", "Box-Cox of |f| / std, alone"]
    assert own.srcc.value == evaluation.agreements[MAGNITUDE].srcc.value
    for family, name, change in (
        ("lambda", "λ = 0.3", {"box_cox_lambda": 0.3}),
        ("crops", "global", {"crops": "global"}),
        ("prompts", "Sharp image | blurry image", {"prompts": (("Sharp image", "blurry image"),)}),
    ):
        scorer = Scorer(experiment(**change).scoring())
        expected = [score.quality for score in scorer.score(images_of(shard)[:8])]
        assert np.allclose(predictions[family, name][:8], expected, atol=2e-6)


def test_what_is_left_out_of_the_magnitude_cue_is_left_out(
    shard: Path, evaluation: Experiment
) -> None:
    found = list(Scorer(experiment().scoring()).features(images_of(shard)[:8]))
    raw = [np.abs(one.features).mean(axis=1) for one in found]
    roots = [(2 * (np.sqrt(np.abs(one.features) + 1) - 1)).mean(axis=1) for one in found]
    rows = {row.name: row.predictions[:8] for row in evaluation.ablations}
    assert np.allclose(rows["mean |f|, alone"], [one.mean() for one in raw], rtol=1e-5)
    assert np.allclose(rows["Box-Cox of |f|, alone"], [one.mean() for one in roots], rtol=1e-5)
    half = [(one.q_sim / 2 + one.q_mag / 2).mean() for one in found]
    assert np.allclose(rows["fixed 0.5 : 0.5"], half, atol=1e-6)
    shift = [2 * (one.q_sim - magnitude) for one, magnitude in zip(found, raw, strict=True)]
    weights = [1 / (1 + np.exp(-0.4 - delta)) for delta in shift]
    fused = [
        (weight * one.q_sim + (1 - weight) * magnitude).mean()
        for one, magnitude, weight in zip(found, raw, weights, strict=True)
    ]
    assert np.allclose(rows["mean |f|, fused"], fused, atol=1e-6)


def test_groups_come_of_a_column(evaluation: Experiment) -> None:
    assert isinstance(evaluation.spread, GroupSpread)
    assert set(evaluation.spread.before) == {"kind 0", "kind 1"}
    assert evaluation.spread.distance_before > 0


def test_figures_are_drawn(evaluation: Experiment, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    paths = draw_figures(evaluation, tmp_path)
    names = ("fit", "cues", "thirds", "groups")
    assert [path.name for path in paths] == [
        f"{n}.{kind}" for n in names for kind in ("svg", "png")
    ]
    assert all(path.stat().st_size > 5000 for path in paths)
    (tmp_path / "again").mkdir()
    for path in draw_figures(evaluation, tmp_path / "again"):
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


def test_captions_say_what_was_measured(evaluation: Experiment, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw_figures(evaluation, tmp_path)
    for name in ("fit", "cues", "thirds", "groups"):
        with Image.open(tmp_path / f"{name}.png") as image:
            caption = str(image.info["Description"])
        assert caption.startswith("rated: 24 pictures, protocol native; compact, crops paper")
        assert caption in (tmp_path / f"{name}.svg").read_text().replace("&#x27;", "'")
    assert "groups" in caption
    assert "95% intervals of 50 bootstrap resamples" in caption


def test_an_unknown_family_is_refused(shard: Path) -> None:
    config = experiment(ablate=("fixd",))
    with pytest.raises(ConfigError, match="did you mean fixed"):
        evaluate([str(shard)], config, BASELINES)


def test_backbones_are_scored_in_the_same_pass(shard: Path, golden: Golden) -> None:
    weights = f"{golden.config.model}={golden.config.pretrained}"
    config = experiment(backbone=("compact", weights, weights), resamples=0, crops="global")
    same, other = evaluate([str(shard)], config, {}).ablations
    assert (same.name, other.name) == ("compact", weights)
    scorer = Scorer(golden.config.model_copy(update={"crops": "global"}))
    expected = [score.quality for score in scorer.score(images_of(shard))]
    assert np.allclose(other.predictions, expected, atol=2e-6)


def test_a_model_that_is_not_here_is_told_before_anything_is_scored(shard: Path) -> None:
    config = experiment(backbone=("compact", "RN50=/nowhere.pt"))
    with pytest.raises(ModelError, match=r"/nowhere\.pt"):
        evaluate([str(shard)], config, {"sharpness": lambda image: pytest.fail("scored")})


def test_groups_of_a_model_that_sees_no_content_are_refused(shard: Path) -> None:
    evaluation = evaluate([str(shard)], experiment(resamples=0, crops="global"), {})
    assert isinstance(evaluation.spread, str)
    assert "compact can't tell what a picture shows" in evaluation.spread
    with pytest.raises(InputError, match="RN50 sees food in 30 of 36"):
        check_labels(["food"] * 30 + ["people", "plants"] * 3, "RN50")
    with pytest.raises(InputError, match="did you mean kind"):
        evaluate([str(shard)], experiment(group_field="kidn"), {})


def test_bins_hold_equally_many_images() -> None:
    opinion, value, deviation = bin_means(np.arange(20.0), np.arange(20.0) * 2, bins=5)
    assert opinion.tolist() == [1.5, 5.5, 9.5, 13.5, 17.5]
    assert value.tolist() == (2 * opinion).tolist()
    assert np.allclose(deviation, np.arange(0.0, 8, 2).std())
