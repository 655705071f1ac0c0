"""MA-CLIP under several configurations in one pass: features are encoded once, scored many times.

Shapes in names: N crops, D feature values, P prompt pairs, L labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from shardsift.config import Attributes, CropPlan, ScoreConfig
from shardsift.errors import ConfigError
from shardsift.evaluation.statistics import Values
from shardsift.records import RgbImage
from shardsift.scoring.clip import load_clip
from shardsift.scoring.crops import cut_crops, patch_corners
from shardsift.scoring.encoder import Encoder
from shardsift.scoring.maclip import fuse, magnitude_cue, similarity_cue

FAMILIES = ("lambda", "weights", "alpha", "crops", "dense", "prompts")
"""What `--ablate` may name; `dense` needs a convolutional tower, and another pass."""

GROUP_LABELS = (
    *("people", "animals", "plants", "food", "buildings", "vehicles"),
    *("landscape", "indoor scene", "everyday objects", "drawing"),
)
"""Semantic groups that an image is put into if no column says."""

_MIN_BATCH = 2
"""As in the scorer: a lone crop would be rounded otherwise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One row of the ablation table."""

    family: str
    name: str
    config: ScoreConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageCues:
    """One image under V variants: means over crops, shape (V,), and what groups are made of.

    `magnitude` is the magnitude cue of the first variant before Box-Cox, `label` the place of the
    likeliest label; `attributes` are of the first variant's crops.
    """

    quality: Values
    q_sim: Values
    q_mag: Values
    magnitude: float
    label: int
    attributes: Values


def ablations(base: ScoreConfig, families: Iterable[str]) -> Iterator[Variant]:
    """List the table's variants, one setting changed at a time. Raises ConfigError."""
    changes: dict[str, list[tuple[str, dict[str, object]]]] = {
        "lambda": [(f"λ = {x:g}", {"box_cox_lambda": x}) for x in (0.0, 0.25, 0.5, 0.75, 1.0)],
        "weights": [
            (f"base {sim:g} : {mag:g}", {"base_sim": sim, "base_mag": mag})
            for sim, mag in ((1.0, 0.2), (1.0, 0.6), (1.0, 1.0), (0.6, 1.0), (0.2, 1.0))
        ],
        "alpha": [(f"α = {x:g}", {"alpha": x}) for x in (0.0, 0.5, 1.0, 2.0, 4.0)],
        "crops": [(plan, {"crops": plan}) for plan in ("paper", "fast", "global")],
        "dense": [("dense", {"crops": "dense"})],
        "prompts": [
            ("all pairs", {}),
            *((" | ".join(pair), {"prompts": (pair,)}) for pair in base.prompts),
        ],
    }
    for family in families:
        if family not in changes:
            raise ConfigError(f"--ablate {family}: known are {', '.join(FAMILIES)}")
        for name, change in changes[family]:
            yield Variant(family=family, name=name, config=base.model_copy(update=change))


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
        plan: CropPlan = self.variants[0].config.crops
        if plan != "dense":
            # Every other plan's views are among those of `paper`.
            plan = "global" if self._all("global") else "fast" if self._all("fast") else "paper"
        features_ND = self._features(image, plan)
        corners = patch_corners(height, width, plan)
        scored = [
            self._score(features_ND[_views(corners, height, width, v.config.crops)], place)
            for place, v in enumerate(self.variants)
        ]
        quality_V, q_sim_V, q_mag_V = np.array(scored, np.float64).T
        own_ND = features_ND[_views(corners, height, width, self.variants[0].config.crops)]
        likeness_L = self._labels_LD @ features_ND[-1]
        return ImageCues(
            quality=quality_V,
            q_sim=q_sim_V,
            q_mag=q_mag_V,
            magnitude=float(magnitude_cue(own_ND, 1.0).mean()),
            label=int(likeness_L.argmax()),
            attributes=np.array(
                [float(own_N.double().mean()) for own_N in self._encoder.answers(own_ND)]
            ),
        )

    def _all(self, plan: CropPlan) -> bool:
        return all(variant.config.crops == plan for variant in self.variants)

    def _features(self, image: RgbImage, plan: CropPlan) -> Tensor:
        pixels_HW3 = torch.from_numpy(np.require(image, requirements=["C", "W"]))
        pixels_HW3 = pixels_HW3.to(self._encoder.device)
        if plan == "dense":
            whole_1D = self._encode([crop.float() for crop in cut_crops(pixels_HW3, "global")])
            return torch.cat([self._encoder.encode_patches(pixels_HW3), whole_1D])
        return self._encode([crop.float() for crop in cut_crops(pixels_HW3, plan)])

    def _encode(self, crops: list[Tensor]) -> Tensor:
        count = len(crops)
        crops_NSS3 = torch.stack(crops * _MIN_BATCH if count < _MIN_BATCH else crops)
        return self._encoder.encode(crops_NSS3.permute(0, 3, 1, 2))[:count]

    def _score(self, features_ND: Tensor, place: int) -> tuple[float, float, float]:
        """Average quality, q_sim and q_mag over crops."""
        config = self.variants[place].config
        text_P2D = self._encoder.text_P2D[self._places[place]]
        scores = fuse(
            similarity_cue(features_ND, text_P2D, self._encoder.logit_scale),
            magnitude_cue(features_ND, config.box_cox_lambda),
            base_sim=config.base_sim,
            base_mag=config.base_mag,
            alpha=config.alpha,
        )
        cues = (scores.quality, scores.q_sim, scores.q_mag)
        quality, q_sim, q_mag = (float(cue.double().mean()) for cue in cues)
        return quality, q_sim, q_mag


def _views(
    corners: Sequence[tuple[int, int]], height: int, width: int, plan: CropPlan
) -> list[int]:
    """Find the views of a plan among views with these corners and the whole image."""
    wanted = patch_corners(height, width, plan)
    return [corners.index(corner) for corner in wanted] + [len(corners)]
