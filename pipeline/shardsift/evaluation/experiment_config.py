"""What an evaluation may be asked for."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shardsift.config import CommaSeparated, ModelConfig


class ExperimentConfig(ModelConfig):
    """Scores to compare with human opinion: the configuration under test, and variants of it."""

    mos_field: str = Field(
        default="mos", description="name of the opinion score in the samples' `.json`"
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
