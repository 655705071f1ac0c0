"""Rated shards in, a table out: equal to `Scorer`'s scores and to scipy's statistics."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from shardsift.errors import ConfigError, InputError, ModelError
from shardsift.evaluation.baselines import laplacian_variance
from shardsift.evaluation.evaluate import (
    MAGNITUDE,
    OURS,
    SIMILARITY,
    Evaluation,
    bin_means,
    evaluate,
)
from shardsift.evaluation.experiment_config import ExperimentConfig
from shardsift.evaluation.figures import draw_figures
from shardsift.evaluation.groups import GroupSpread, check_labels
from shardsift.evaluation.opinions import Baseline, rated_images
from shardsift.progress import Course, Snapshot
from shardsift.records import RgbImage
from shardsift.scoring.scorer import Scorer
from shardsift.shards.images import decode_rgb
from shardsift.shards.samples import read_samples
from tests.conftest import Golden
from tests.samples import File, encoded, write_tar
from tests.shardsift.evaluation.rated import write_rated_shard

BASELINES: dict[str, Baseline] = {"sharpness": laplacian_variance}


def experiment(**changes: object) -> ExperimentConfig:
    values = {"model": "compact", "max_pixels": 10**6}
    return ExperimentConfig.model_validate(values | changes)


@pytest.fixture(name="shard", scope="module")
def a_rated_shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rated_shard(tmp_path_factory.mktemp("rated") / "rated.tar", images=24)


@pytest.fixture(name="evaluation", scope="module")
def the_evaluation(shard: Path) -> Evaluation:
    config = experiment(iqa_set="rated", group_field="kind", resamples=50, ablate=("all",))
    return evaluate([str(shard)], config, BASELINES)


def images_of(shard: Path) -> list[RgbImage]:
    samples = read_samples(str(shard))
    return [decode_rgb(s.image.data, 10**6) for s in samples if s.image and s.image.data]


def test_predictions_are_those_of_the_scorer(shard: Path, evaluation: Evaluation) -> None:
    scorer = Scorer(experiment().scoring())
    scores = list(scorer.score(images_of(shard)))
    for name, cue in ((OURS, "quality"), (SIMILARITY, "q_sim"), (MAGNITUDE, "q_mag")):
        expected = [getattr(score, cue).mean() for score in scores]
        assert np.allclose(evaluation.predictions[name], expected, atol=2e-6)
    assert evaluation.fingerprint == scorer.fingerprint


def test_statistics_are_those_of_scipy(evaluation: Evaluation) -> None:
    for name, predictions in evaluation.predictions.items():
        found = evaluation.agreements[name]
        assert found.srcc.value == pytest.approx(
            stats.spearmanr(predictions, evaluation.opinions)[0]
        )
        assert found.krcc.value == pytest.approx(
            stats.kendalltau(predictions, evaluation.opinions)[0]
        )
        assert found.plcc_raw.value == pytest.approx(
            stats.pearsonr(predictions, evaluation.opinions)[0]
        )


def test_attributes_are_compared_with_opinions_as_the_scorer_gives_them(shard: Path) -> None:
    asked = {"attribute": ("bright=a bright photo|a dark photo", "text=text|no text")}
    config = experiment(resamples=0, limit=10, **asked)
    predictions = evaluate([str(shard)], config, {}).predictions
    scorer = Scorer(config.scoring(), attributes=config.asked())
    for place, name in enumerate(("attr_bright", "attr_text")):
        scores = scorer.score(images_of(shard)[:10])
        expected = [score.attributes[place].mean() for score in scores]
        assert np.allclose(predictions[name], expected, atol=2e-6)
    alone = experiment(by="attr_text", resamples=0, limit=10, **asked)
    found = evaluate([str(shard)], alone, {})
    assert [name for name in found.predictions if "attr" in name] == ["attr_text"]
    assert found.agreements["attr_text"].srcc.value == pytest.approx(
        stats.spearmanr(predictions["attr_text"], found.opinions)[0]
    )
    with pytest.raises(ValueError, match="did you mean attr_text"):
        experiment(by="attr_txt", **asked)


def test_ablations_change_one_setting(shard: Path, evaluation: Evaluation) -> None:
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
        expected = [score.quality.mean() for score in scorer.score(images_of(shard)[:8])]
        assert np.allclose(predictions[family, name][:8], expected, atol=2e-6)


def test_what_is_left_out_of_the_magnitude_cue_is_left_out(
    shard: Path, evaluation: Evaluation
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


def test_dmos_gives_the_same_correlations(shard: Path, evaluation: Evaluation) -> None:
    config = experiment(mos_field="dmos", higher_is_worse=True, resamples=0)
    turned = evaluate([str(shard)], config, BASELINES).agreements[OURS]
    assert turned.srcc.value == pytest.approx(evaluation.agreements[OURS].srcc.value)
    assert turned.rmse.value == pytest.approx(evaluation.agreements[OURS].rmse.value, abs=1e-4)


def test_groups_come_of_a_column(evaluation: Evaluation) -> None:
    assert isinstance(evaluation.spread, GroupSpread)
    assert set(evaluation.spread.before) == {"kind 0", "kind 1"}
    assert evaluation.spread.distance_before > 0


def test_figures_are_drawn(evaluation: Evaluation, tmp_path: Path) -> None:
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


def test_captions_say_what_was_measured(evaluation: Evaluation, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw_figures(evaluation, tmp_path)
    for name in ("fit", "cues", "thirds", "groups"):
        with Image.open(tmp_path / f"{name}.png") as image:
            caption = str(image.info["Description"])
        assert caption.startswith("rated: 24 pictures, protocol native; compact, crops paper")
        assert caption in (tmp_path / f"{name}.svg").read_text().replace("&#x27;", "'")
    assert "groups" in caption
    assert "95% intervals of 50 bootstrap resamples" in caption


def rated(tmp_path: Path, files: list[File], suffix: str = "") -> tuple[list[str], Counter[str]]:
    """Keys and opinions of what is rated in a shard, and what was skipped."""
    path = write_tar(tmp_path / "0.tar", files)
    if suffix == ".gz":
        path.write_bytes(gzip.compress(path.read_bytes()))
    skipped: Counter[str] = Counter()
    found = rated_images([str(path)], experiment(), {}, skipped)
    return [f"{image.key} {image.opinion:g}" for image in found], skipped


@pytest.mark.parametrize(
    "opinion",
    ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "9" * 400, "true", "null", "[4]"],
)
def test_what_is_no_finite_number_is_no_opinion(opinion: str, tmp_path: Path) -> None:
    files = [
        *(("a.png", encoded("PNG")), ("a.json", f'{{"mos": {opinion}}}'.encode())),
        *(("b.png", encoded("PNG")), ("b.json", b'{"mos": 3}')),
    ]
    assert rated(tmp_path, files) == (["b 3"], Counter(no_opinion=1))


def test_an_opinion_that_is_text_is_told(tmp_path: Path) -> None:
    files = [("a.png", encoded("PNG")), ("a.json", b'{"mos": "4.5"}')]
    assert rated(tmp_path, files) == ([], Counter(opinion_is_text=1))


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_samples_are_those_that_score_reads(suffix: str, tmp_path: Path) -> None:
    image = encoded("PNG")
    files = [
        *(("IMG.2020.png", image), ("IMG.JSON", b'{"mos": 1}')),
        *(("__meta__/x.json", b"no JSON"), ("x/.b.png", image), ("x/.json", b'{"mos": 7}')),
        *(("c.png", image), ("c.json", b"{broken"), ("d.png", image), ("d.json", b"[1]")),
        *(("e.png", image), ("e.json", b'{"mos": 2}'), ("e.json", b'{"mos": 3}')),
    ]
    found, skipped = rated(tmp_path, files, suffix)
    assert found == ["IMG 1", "x/ 7", "e 2"]
    scored = [sample.key for sample in read_samples(str(tmp_path / "0.tar"))]
    assert len(scored) == len(found) + skipped.total()


def test_an_unknown_field_names_the_nearest(shard: Path) -> None:
    config = experiment(mos_field="moss")
    with pytest.raises(InputError, match="did you mean mos"):
        evaluate([str(shard)], config, BASELINES)


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
    expected = [score.quality.mean() for score in scorer.score(images_of(shard))]
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


def test_it_tells_how_far_it_is(shard: Path) -> None:
    course = Course("scoring", noun="images")
    seen: list[Snapshot] = []

    def looking(image: RgbImage) -> float:
        seen.append(course.look())
        return laplacian_variance(image)

    config = experiment(resamples=0, ablate=("lambda",))
    evaluate([str(shard), str(shard)], config, {"sharpness": looking}, course)
    shares = [shown.share or 0.0 for shown in seen]
    assert shares == sorted(shares)
    last = course.look()
    assert (last.doing, last.items) == ("computing statistics", 48)
