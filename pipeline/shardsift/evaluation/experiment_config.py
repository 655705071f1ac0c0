"""What an evaluation may be asked for."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from shardsift.config import (
    AttributesConfig,
    CommaSeparated,
    ModelConfig,
    PromptPairs,
    attribute_columns,
    did_you_mean,
)


class ExperimentConfig(ModelConfig, AttributesConfig):
    """Scores to compare with human opinion: the configuration under test, and variants of it."""

    mos_field: str = Field(
        default="mos", description="name of the opinion score in the samples' `.json`"
    )
    by: str | None = Field(
        default=None,
        description="the one attribute to compare with opinions, such as `attr_sharpness`; by "
        "default all that are asked for",
    )
    higher_is_worse: bool = Field(default=False, description="the opinions are DMOS")
    group_field: str | None = Field(
        default=None,
        description="name of the semantic group in the `.json`, for the spread of the magnitude "
        "cue; by default zero-shot labels",
    )
    limit: int | None = Field(default=None, ge=8, description="read the first images only")
    resamples: int = Field(
        default=1000, ge=0, description="resamples of the bootstrap; 0 for no intervals"
    )
    ablate: Annotated[tuple[str, ...], CommaSeparated] = Field(
        default=(),
        description="a table of variants: `lambda`, `weights`, `alpha`, `crops`, `dense`, "
        "`prompts`, comma-separated",
    )
    backbone: tuple[str, ...] = Field(
        default=(),
        description="a further model in that table, `NAME` or `NAME=WEIGHTS`; may be repeated",
    )

    @model_validator(mode="after")
    def _by_is_asked(self) -> Self:
        known = attribute_columns(self.asked())
        if self.by is not None and self.by not in known:
            hint = did_you_mean(self.by, known, "ask it with --attribute or --attributes")
            raise ValueError(f"--by {self.by}: no attribute that is asked; {hint}")
        return self

    def compared(self) -> dict[str, PromptPairs]:
        """Return the attributes that are compared with opinions."""
        asked = self.asked()
        columns = zip(asked, attribute_columns(asked), strict=True)
        return {name: asked[name] for name, column in columns if self.by in (None, column)}
