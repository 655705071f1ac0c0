"""Settings that change a score; all of them go into the fingerprint."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from pydantic import Field, field_validator

from shardsift.config.base import Config, Given

PAPER_PROMPT_PAIRS = (
    ("Good image", "bad image"),
    ("Sharp image", "blurry image"),
    ("sharp edges", "blurry edges"),
    ("High resolution image", "low resolution image"),
    ("Noise-free image", "noisy image"),
)

PILLOW_BOMB_ERROR_PIXELS = 178_956_970
"""Above this Pillow itself refuses to open an image."""

CropPlan = Literal["paper", "fast", "global"]
Dtype = Literal["float32", "bfloat16", "float16"]
AnyDtype = Literal["float32", "bfloat16", "float16", "auto"]


class ScoreConfig(Config):
    """Everything that decides a score; all of it goes into the fingerprint."""

    model: str = Field(
        default="RN50",
        description="an open_clip model name, `hf-hub:ORG/NAME`, the path of an open_clip model "
        "config, or `compact`, the small model of this package",
    )
    pretrained: str | None = Field(
        default=None,
        description="a weights tag that open_clip knows, the path of a weights file, or "
        "`random` (seeded, for tests); by default `openai`, or the own weights of "
        "`compact` and `hf-hub:` models",
    )
    position_embedding: Annotated[bool, Given.IN_FILE] = Field(
        default=False,
        description="use the image tower's position embedding; MA-CLIP omits it in ResNets",
    )
    prompts: Annotated[tuple[tuple[str, str], ...], Given.IN_FILE] = Field(
        default=PAPER_PROMPT_PAIRS,
        min_length=1,
        description="antonym pairs, good prompt first; by default the paper's five",
    )
    box_cox_lambda: Annotated[float, Given.IN_FILE] = Field(
        default=0.5,
        ge=-5,
        le=5,
        description="λ of the Box-Cox transform of the feature magnitudes; 0 is the logarithm",
    )
    base_sim: Annotated[float, Given.IN_FILE] = Field(
        default=1.0, description="fusion logit of the similarity cue"
    )
    base_mag: Annotated[float, Given.IN_FILE] = Field(
        default=0.6, description="fusion logit of the magnitude cue"
    )
    alpha: Annotated[float, Given.IN_FILE] = Field(
        default=1.0, description="influence of the difference of the cues on their weights"
    )
    crops: CropPlan = Field(
        default="paper",
        description="the crop plan. `paper`: patches of 224 px at stride 128, and the whole "
        "image resized; `fast`: at most four of these patches, and the whole image; "
        "`global`: only the whole image",
    )
    dtype: AnyDtype = Field(
        default="float32",
        description="arithmetic of the image encoder: `float32`, `bfloat16`, or `float16` on "
        "GPUs; scores in 16 bits differ by at most about 0.01. `auto` uses "
        "`bfloat16` on GPUs that have it, `float16` on older ones, and `float32` on "
        "CPUs, and records its choice",
    )
    max_pixels: Annotated[int, Given.IN_FILE] = Field(
        default=89_478_485,
        ge=1,
        le=PILLOW_BOMB_ERROR_PIXELS,
        description="images with more pixels are not decoded, and get a `too_large` row",
    )

    @field_validator("prompts")
    @classmethod
    def _prompts_say_something(
        cls, pairs: tuple[tuple[str, str], ...]
    ) -> tuple[tuple[str, str], ...]:
        if not all(prompt.strip() for pair in pairs for prompt in pair):
            raise ValueError("a prompt is empty")
        return pairs

    def scoring(self) -> ScoreConfig:
        """Return the part that decides scores, of a config that holds more."""
        fields = ScoreConfig.model_fields
        return ScoreConfig.model_validate({name: getattr(self, name) for name in fields})

    @property
    def decided_dtype(self) -> Dtype:
        """The dtype, which is `auto` only until the device is known."""
        assert self.dtype != "auto", "decided with the device"
        return self.dtype

    def fingerprint(self, model_digest: str) -> str:
        """Hash everything that changes a score: 16 hexadecimal digits.

        `model_digest` is the hash of the model config and its weights, so that names and paths
        don't count.
        """
        settings = self.model_dump(mode="json", exclude={"model", "pretrained"})
        settings["dtype"] = self.decided_dtype
        canonical = json.dumps([settings, model_digest], sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


class ModelConfig(ScoreConfig):
    """A score, and the device that computes it in this process."""

    device: str = Field(default="cpu", description="`cpu`, `cuda` or `cuda:N`")
