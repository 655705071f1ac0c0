"""Settings of `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from shardsift.config.base import Given, TableConfig
from shardsift.config.measures import AttributesConfig, PromptPairs, attribute_columns
from shardsift.config.mistakes import did_you_mean
from shardsift.config.score import ModelConfig


class OpinionsConfig(ModelConfig, AttributesConfig):
    """Settings of whatever compares scores with human opinion."""

    mos_field: str = Field(
        default="mos", description="name of the opinion score in the samples' `.json`"
    )
    by: str | None = Field(
        default=None,
        description="the one attribute to compare with opinions, such as `attr_sharpness`; by "
        "default all that are asked for",
    )
    higher_is_worse: bool = Field(default=False, description="the opinions are DMOS")
    limit: int | None = Field(default=None, ge=8, description="read the first images only")
    resamples: int = Field(
        default=1000, ge=0, description="resamples of the bootstrap; 0 for no intervals"
    )

    @model_validator(mode="after")
    def _by_is_asked(self) -> Self:
        known = attribute_columns(self.asked())
        if self.by is not None and self.by not in known:
            hint = did_you_mean(self.by, known, "ask it with --attribute")
            raise ValueError(f"--by {self.by}: no attribute that is asked; {hint}")
        return self

    def compared(self) -> dict[str, PromptPairs]:
        """Return the attributes that are compared with opinions."""
        asked = self.asked()
        columns = zip(asked, attribute_columns(asked), strict=True)
        return {name: asked[name] for name, column in columns if self.by in (None, column)}


class EvaluateConfig(OpinionsConfig, TableConfig):
    """Settings of `evaluate`."""

    shards: Annotated[tuple[str, ...], Given.BY_PLACE] = Field(
        min_length=1, description="tars whose samples' `.json` holds an opinion score"
    )
    output: Path = Field(
        description="folder for `evaluation.html`, `evaluation.json`, `table.md` and "
        "`predictions.csv`"
    )
