"""Predictions are `Scorer`'s scores, and statistics are scipy's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from shardsift.config.verb_settings import EvaluateConfig
from shardsift.errors import InputError
from shardsift.evaluation.agreement import LAPLACIAN, MAGNITUDE, OURS, SIMILARITY, evaluate
from shardsift.images.decode import decode_rgb
from shardsift.progress import Course
from shardsift.records import RgbImage
from shardsift.scoring.scorer import Scorer
from shardsift.shards.tar_samples import read_tar
from tests.rated import write_rated_shard


@pytest.fixture(name="shard", scope="module")
def a_rated_shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rated_shard(tmp_path_factory.mktemp("rated") / "rated.tar")


def config(shard: Path, **changes: object) -> EvaluateConfig:
    values = {"model": "compact", "shards": (str(shard),), "output": "-", "resamples": 0}
    return EvaluateConfig.model_validate(values | changes)


def images_of(shard: Path) -> list[RgbImage]:
    samples = read_tar(str(shard))
    return [decode_rgb(s.image.data, 10**6) for s in samples if s.image and s.image.data]


def test_predictions_and_statistics(shard: Path) -> None:
    asked = ("bright=a bright photo|a dark photo", "text=text|no text")
    found = evaluate(config(shard, attribute=asked))
    scorer = Scorer(config(shard).scoring(), attributes=config(shard, attribute=asked).asked())
    scores = list(scorer.score(images_of(shard)))
    for name, cue in ((OURS, "quality"), (SIMILARITY, "q_sim"), (MAGNITUDE, "q_mag")):
        assert np.allclose(found.predictions[name], [getattr(s, cue) for s in scores])
    for place, name in enumerate(("attr_bright", "attr_text")):
        assert np.allclose(
            found.predictions[name], [s.per_crop.attributes[place].mean() for s in scores]
        )
    assert found.fingerprint == scorer.fingerprint
    for name, predictions in found.predictions.items():
        told = found.agreements[name]
        expected = (
            stats.spearmanr(predictions, found.opinions)[0],
            stats.kendalltau(predictions, found.opinions)[0],
            stats.pearsonr(predictions, found.opinions)[0],
        )
        values = told.srcc.value, told.krcc.value, told.plcc_raw.value
        assert values == pytest.approx(expected)
    assert found.agreements[LAPLACIAN].srcc.value > 0.5, "the shard's opinions are of blur"


def test_one_attribute_may_be_compared_alone(shard: Path) -> None:
    asked = {"attribute": ("bright=a bright photo|a dark photo", "text=text|no text")}
    found = evaluate(config(shard, by="attr_text", crops="global", **asked))
    assert [name for name in found.predictions if "attr" in name] == ["attr_text"]
    with pytest.raises(ValueError, match="did you mean attr_text"):
        config(shard, by="attr_txt", **asked)


def test_dmos_gives_the_same_correlations(shard: Path) -> None:
    straight = evaluate(config(shard, crops="global")).agreements[OURS]
    turned = config(shard, crops="global", mos_field="dmos", higher_is_worse=True)
    found = evaluate(turned).agreements[OURS]
    assert found.srcc.value == pytest.approx(straight.srcc.value)
    assert found.rmse.value == pytest.approx(straight.rmse.value, abs=1e-4)


def test_an_unknown_field_names_the_nearest(shard: Path) -> None:
    with pytest.raises(InputError, match="did you mean mos"):
        evaluate(config(shard, mos_field="moss"))


def test_progress_reaches_the_end(shard: Path) -> None:
    course = Course("scoring", noun="images")
    evaluate(config(shard, crops="global", limit=8), course)
    last = course.snapshot()
    assert (last.items, last.doing) == (8, f"computing statistics of {LAPLACIAN}")
