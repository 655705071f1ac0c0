"""A published figure is only shown beside one of the same pictures, model and protocol."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobs.paper.config import ExperimentConfig
from jobs.paper.evaluation import Experiment, evaluate
from jobs.paper.protocol import PAPER_SETS
from jobs.paper.tables import as_json, as_markdown
from tests.rated import write_rated_shard

CSIQ = PAPER_SETS["csiq"]
PLACES = {"shards": ("-",), "output": "-"}


@pytest.fixture(name="measured", scope="module")
def a_measured_set(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    shard = write_rated_shard(tmp_path_factory.mktemp("rated") / "rated.tar", images=8)
    settings = {"model": "compact", "crops": "global", "resamples": 0, **PLACES}
    paper = {"iqa_set": "csiq", "protocol": "paper"}
    return evaluate([str(shard)], ExperimentConfig.model_validate(settings | paper), {})


def told(measured: Experiment, images: int = CSIQ.images, **settings: object) -> Experiment:
    """The same numbers, with another number of pictures and other settings."""
    paper = {"iqa_set": "csiq", "protocol": "paper", "resamples": 0, **PLACES}
    config = ExperimentConfig.model_validate(paper | settings)
    return replace(measured, config=config, keys=["x"] * images)


def test_the_papers_own_model_on_all_pictures_has_the_figure(measured: Experiment) -> None:
    found = told(measured)
    assert as_json(found)["published_srcc"] == CSIQ.srcc
    table = as_markdown(found)
    assert "all of their 866 pictures" in table
    assert "0.7374" in table
    assert "second-hand" in table
    assert table.count("0.7374") == 1, "beside our score alone"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": "compact"}, "of RN50 with OpenAI's weights"),
        ({"pretrained": "random"}, "of RN50 with OpenAI's weights"),
        ({"crops": "fast"}, "of RN50 with OpenAI's weights"),
        ({"images": 865}, "of all 866 pictures"),
        ({"iqa_set": "agiqa3k"}, "its figure is not known here"),
        ({"protocol": "native"}, "not to be held against the paper's figures"),
    ],
)
def test_no_other_has_it(settings: dict[str, object], said: str, measured: Experiment) -> None:
    found = told(measured, **settings)  # pyright: ignore[reportArgumentType]
    assert as_json(found)["published_srcc"] is None
    table = as_markdown(found)
    assert said in table
    assert "0.7374" not in table
