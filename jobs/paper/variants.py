"""MA-CLIP under several configurations in one pass: features are encoded once, scored many times.

Shapes in names: N crops, D feature values, P prompt pairs, L labels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from shardsift.config import Attributes, CropPlan, ScoreConfig, did_you_mean
from shardsift.errors import ConfigError
from shardsift.evaluation.statistics import Values
from shardsift.records import RgbImage
from shardsift.scoring.clip import load_clip
from shardsift.scoring.crops import patch_corners
from shardsift.scoring.encoder import Encoder, encode_views
from shardsift.scoring.maclip import FusedScores, box_cox, fuse, magnitude_cue, similarity_cue

FAMILIES = ("lambda", "magnitude", "weights", "fixed", "alpha", "crops", "prompts")
"""Names for `--ablate`."""

ALL_FAMILIES = "all"
"""Name for all families."""

GROUP_LABELS = (
    *("people", "animals", "plants", "food", "buildings", "vehicles"),
    *("landscape", "indoor scene", "everyday objects", "drawing"),
)
"""Semantic groups that an image is put into if no column says."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One row of the ablation table.

    Attributes:
        divides: whether magnitudes are divided by their standard deviation, as MA-CLIP does.
        cue: the value that is compared with ratings.
    """

    family: str
    name: str
    config: ScoreConfig
    divides: bool = True
    cue: Literal["quality", "q_mag"] = "quality"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageCues:
    """One image under V variants: means over crops, and data for groups.

    Attributes:
        compared: the value of each variant that is compared with ratings, shape (V,).
        q_sim, q_mag: of the first variant.
        attributes: of the first variant, a value each.
        magnitude: the magnitude cue of the first variant before Box-Cox.
        label: the place of the likeliest label.
    """

    compared: Values
    q_sim: float
    q_mag: float
    attributes: Values
    magnitude: float
    label: int


def ablations(base: ScoreConfig, families: Iterable[str]) -> Iterator[Variant]:
    """List the table's variants, one setting changed at a time. Raises ConfigError."""
    changes: dict[str, list[tuple[str, dict[str, object]]]] = {
        "lambda": [(f"λ = {x:g}", {"box_cox_lambda": x}) for x in (0.0, 0.3, 0.5, 0.7, 1.0)],
        "weights": [
            (f"base {sim:g} : {mag:g}", {"base_sim": sim, "base_mag": mag})
            for sim, mag in ((1.0, 0.2), (1.0, 0.6), (1.0, 1.0), (0.6, 1.0), (0.2, 1.0))
        ],
        "fixed": [
            (f"fixed {sim:.1f} : {1 - sim:.1f}", _fixed_weights(sim))
            for sim in (0.1, 0.3, 0.5, 0.7, 0.9)
        ],
        "alpha": [(f"α = {x:g}", {"alpha": x}) for x in (0.0, 0.5, 1.0, 2.0, 4.0)],
        "crops": [(plan, {"crops": plan}) for plan in ("paper", "fast", "global")],
        "prompts": [
            ("all pairs", {}),
            *((" | ".join(pair), {"prompts": (pair,)}) for pair in base.prompts),
        ],
    }
    for family in dict.fromkeys(_families(families)):
        if family == "magnitude":
            yield from _magnitudes(base)
        for name, change in changes.get(family, []):
            yield Variant(family=family, name=name, config=base.model_copy(update=change))


def _families(asked: Iterable[str]) -> Iterator[str]:
    for family in asked:
        if family == ALL_FAMILIES:
            yield from FAMILIES
        elif family in FAMILIES:
            yield family
        else:
            known = f"known are {', '.join((ALL_FAMILIES, *FAMILIES))}"
            raise ConfigError(f"--ablate {family}: {did_you_mean(family, FAMILIES, known)}")


def _fixed_weights(sim: float) -> dict[str, object]:
    """Fuse with the same weights whatever the cues say: a softmax of constants."""
    return {"base_sim": math.log(sim / (1 - sim)), "base_mag": 0.0, "alpha": 0.0}


def _magnitudes(base: ScoreConfig) -> Iterator[Variant]:
    """List what can be left out of the magnitude cue; λ = 1 is no transform."""
    plain = base.model_copy(update={"box_cox_lambda": 1.0})
    steps = (
        ("mean |f|", plain, False),
        ("Box-Cox of |f|", base, False),
        ("|f| / std", plain, True),
        ("Box-Cox of |f| / std", base, True),
    )
    cues: tuple[tuple[str, Literal["quality", "q_mag"]], ...] = (
        ("alone", "q_mag"),
        ("fused", "quality"),
    )
    for name, config, divides in steps:
        for how, cue in cues:
            yield Variant(
                family="magnitude",
                name=f"{name}, {how}",
                config=config,
                divides=divides,
                cue=cue,
            )


class Variants:
    """Scores images under variants of one encoder: all have its weights and its dtype."""

    def __init__(
        self, variants: Sequence[Variant], device: str, attributes: Attributes | None = None
    ) -> None:
        """Load the encoder. Raises ModelError if it can't be had."""
        self.variants = variants
        first = variants[0].config
        pairs = list(dict.fromkeys(pair for v in variants for pair in v.config.prompts))
        # The encoder knows pairs only; a label is paired with itself.
        labels = [(f"a photo of {label}", f"a photo of {label}") for label in GROUP_LABELS]
        config = first.model_copy(update={"prompts": (*pairs, *labels)})
        self._encoder = Encoder(config, device, load_clip(config, attributes))
        self._places = [[pairs.index(pair) for pair in v.config.prompts] for v in variants]
        self._labels_LD = self._encoder.text_P2D[len(pairs) :, 0]

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the first variant, as `score` would record it."""
        return self.variants[0].config.fingerprint(self._encoder.digest)

    @torch.inference_mode()
    def score(self, image: RgbImage) -> ImageCues:
        """Score all variants of one image."""
        height, width = image.shape[:2]
        # Every other plan's views are among those of `paper`.
        plan = "global" if self._all("global") else "fast" if self._all("fast") else "paper"
        features_ND = encode_views(self._encoder, image, plan)
        corners = patch_corners(height, width, plan)

        def views_of(variant: Variant) -> Tensor:
            return features_ND[_views(corners, height, width, variant.config.crops)]

        scored = [self._score(views_of(v), place) for place, v in enumerate(self.variants)]
        own_ND = views_of(self.variants[0])
        attributes = [_mean(own_N) for own_N in self._encoder.answers(own_ND)]
        return ImageCues(
            compared=np.array(
                [
                    _mean(getattr(scores, v.cue))
                    for scores, v in zip(scored, self.variants, strict=True)
                ]
            ),
            q_sim=_mean(scored[0].q_sim),
            q_mag=_mean(scored[0].q_mag),
            attributes=np.array(attributes),
            magnitude=_mean(magnitude_cue(own_ND, 1.0)),
            label=int((self._labels_LD @ features_ND[-1]).argmax()),
        )

    def _all(self, plan: CropPlan) -> bool:
        return all(variant.config.crops == plan for variant in self.variants)

    def _score(self, features_ND: Tensor, place: int) -> FusedScores:
        variant, config = self.variants[place], self.variants[place].config
        text_P2D = self._encoder.text_P2D[self._places[place]]
        if variant.divides:
            q_mag_N = magnitude_cue(features_ND, config.box_cox_lambda)
        else:
            q_mag_N = box_cox(features_ND.abs(), config.box_cox_lambda).mean(dim=-1)
        return fuse(
            similarity_cue(features_ND, text_P2D, self._encoder.logit_scale),
            q_mag_N,
            base_sim=config.base_sim,
            base_mag=config.base_mag,
            alpha=config.alpha,
        )


def _mean(values_N: Tensor) -> float:
    return float(values_N.double().mean())


def _views(
    corners: Sequence[tuple[int, int]], height: int, width: int, plan: CropPlan
) -> list[int]:
    """Find the views of a plan among views with these corners and the whole image."""
    wanted = patch_corners(height, width, plan)
    return [corners.index(corner) for corner in wanted] + [len(corners)]
