"""Attributes equal open_clip's probabilities of prompts, and don't change scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from torch.nn import functional

from shardsift.config import Attributes, RunConfig, ScoreConfig, load_config
from shardsift.errors import ConfigError
from shardsift.records import RgbImage
from shardsift.scoring.scorer import Scorer
from tests.conftest import Golden

NORMALISATION = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
ASKED: Attributes = {
    "blurry": (("a blurry photo", "a sharp photo"), ("out of focus", "in focus")),
    "watermark": (("a photo with a watermark", "a photo without one"),),
}


def pictures(number: int = 5) -> list[RgbImage]:
    random = np.random.default_rng(0)
    sides = [(300, 400), (224, 224), (100, 60), (360, 224), (480, 640)]
    return [random.integers(0, 256, (*sides[n % 5], 3), np.uint8) for n in range(number)]


def test_golden_pictures_have_what_open_clip_gives(golden: Golden) -> None:
    """Crop by crop, by open_clip itself, in float64: its float32 is off by more than ours."""
    images = [golden.image(row) for row in golden.rows]
    scores = Scorer(golden.config, attributes=ASKED).score(images)
    model = open_clip_of(golden)
    tokenizer = open_clip.get_tokenizer(Path(golden.config.model).stem)
    mean_311, std_311 = (
        torch.tensor(values, dtype=torch.float64).view(3, 1, 1) for values in NORMALISATION
    )
    for image, score in zip(images, scores, strict=True):
        crops_N3SS = (cut(torch.from_numpy(image.copy()).double()) - mean_311) / std_311
        for place, pairs in enumerate(ASKED.values()):
            with torch.inference_mode():
                units_ND = model.encode_image(crops_N3SS, normalize=True)
                text = [model.encode_text(tokenizer(list(pair)), normalize=True) for pair in pairs]
                chances = [
                    (model.logit_scale.exp() * units_ND @ pair_2D.T).softmax(-1)[:, 0]
                    for pair_2D in text
                ]
            expected = torch.stack(chances).mean(0).numpy()
            np.testing.assert_allclose(score.per_crop.attributes[place], expected, atol=1e-5)


def open_clip_of(golden: Golden) -> Any:
    open_clip.add_model_config(golden.config.model)
    name = Path(golden.config.model).stem
    model: Any = open_clip.create_model(name, pretrained=golden.config.pretrained)
    model.visual.attnpool.positional_embedding.data.zero_()  # which MA-CLIP leaves out
    return model.double().eval()


def cut(image_HW3: torch.Tensor) -> torch.Tensor:
    """Patches, then the whole, values 0 to 1."""
    image_3HW = image_HW3.permute(2, 0, 1) / 255
    patches = [
        image_3HW[:, top : top + 224, left : left + 224]
        for top in range(0, image_HW3.shape[0] - 223, 128)
        for left in range(0, image_HW3.shape[1] - 223, 128)
    ]
    whole = functional.interpolate(image_3HW[None], (224, 224), mode="bilinear")
    return torch.cat([torch.stack(patches), whole])


@pytest.mark.parametrize("crops", ["paper", "fast", "global"])
def test_scores_and_fingerprint_are_the_same_whatever_is_asked(crops: str) -> None:
    config = ScoreConfig.model_validate({"model": "compact", "crops": crops})
    plain, asking = Scorer(config), Scorer(config, attributes=ASKED)
    assert asking.fingerprint == plain.fingerprint
    for one, two in zip(plain.score(pictures()), asking.score(pictures()), strict=True):
        for cue in ("quality", "q_sim", "q_mag", "w_sim"):
            own, others = (getattr(score.per_crop, cue) for score in (one, two))
            np.testing.assert_array_equal(own, others)
        assert one.per_crop.attributes.shape == (0, one.crops)
        assert two.per_crop.attributes.shape == (2, two.crops)
        assert all(0 <= value <= 1 for value in two.attributes.values())


def test_an_attribute_is_the_same_whatever_else_is_asked() -> None:
    config = ScoreConfig(model="compact", crops="global")
    alone = Scorer(config, attributes={"watermark": ASKED["watermark"]})
    for one, two in zip(
        alone.score(pictures()), Scorer(config, attributes=ASKED).score(pictures()), strict=True
    ):
        np.testing.assert_array_equal(one.per_crop.attributes[0], two.per_crop.attributes[1])


def test_a_batch_of_ray_data_gets_their_columns() -> None:
    scorer = Scorer(ScoreConfig(model="compact", crops="global"), attributes=ASKED)
    batch = scorer({"image": pictures(2)})
    [_, second] = scorer.score(pictures(2))
    assert batch["attr_watermark"][1] == np.float32(second.attributes["watermark"])
    assert batch["attr_blurry"].dtype == np.float32


def test_they_are_typed_or_come_from_a_file_or_both(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "measures:\n  attributes:\n    text: [[words, nothing written], letters|no letters]\n"
    )
    config = load_config(
        RunConfig,
        overrides={"attribute": ("logo=a logo|no logo", str(file), "logo=x|y")},
    )
    assert config.asked() == {
        "logo": (("a logo", "no logo"), ("x", "y")),
        "text": (("words", "nothing written"), ("letters", "no letters")),
    }


def test_clip_iqa_comes_with_the_package() -> None:
    config = load_config(RunConfig, overrides={"attribute": ["clip-iqa"]})
    assert len(config.asked()) == 10
    assert config.asked()["sharpness"] == (("Sharp photo.", "Blurry photo."),)


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"attribute": ("watermark",)}, "neither a file nor one of .*; or write NAME=PROMPT"),
        ({"attribute": ("watermark=only one",)}, "is no pair of prompts"),
        ({"attribute": ("watermark=a|b|c",)}, "is no pair of prompts"),
        ({"attribute": ("watermark= |b",)}, "is no pair of prompts"),
        ({"attribute": ("watermark=same|same",)}, "both prompts are 'same'"),
        ({"attribute": ("Water mark=a|b",)}, "it becomes a column"),
        ({"attribute": ("=a|b",)}, "it becomes a column"),
        ({"attribute": ("no/file.yaml",)}, "no/file.yaml: can't be read: No such file"),
        ({"attribute": ("laptop",)}, "laptop: has no attributes under `measures`"),
        ({"measures": {"attributes": {"text": []}}}, "attribute text has no pairs of prompts"),
        (
            {"measures": {"attributes": {"text": "a|b"}}, "attribute": ("text=c|d",)},
            "attribute text is given twice; rename one",
        ),
        ({"measures": {"colours": 1}}, "measures.colours"),
        ({"hashes": "md5"}, "hashes"),
    ],
)
def test_what_is_no_attribute_is_told(asked: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_config(RunConfig, overrides=asked)


def test_a_program_is_told_too() -> None:
    with pytest.raises(ConfigError, match="both prompts are 'a'"):
        Scorer(ScoreConfig(model="compact"), attributes={"text": (("a", "a"),)})


def test_a_prompt_whose_end_would_be_cut_off_is_refused() -> None:
    config = ScoreConfig(model="compact")
    longest = " ".join(["picture"] * 75)  # and what marks its begin and end
    assert Scorer(config, attributes={"text": ((longest, "b"),)}).attributes
    with pytest.raises(ConfigError, match="is longer than the 77 tokens"):
        Scorer(config, attributes={"text": ((f"{longest} {longest}", "b"),)})
    with pytest.raises(ConfigError, match="is longer than the 77 tokens"):
        Scorer(ScoreConfig(model="compact", prompts=((f"{longest} it", "b"),)))
