"""What an evaluation may be asked for."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shardsift.config import (
    AttributesConfig,
    CommaSeparated,
    ModelConfig,
    PromptPairs,
    attribute_columns,
    did_you_mean,
)
from shardsift.evaluation.paper import PAPER_SETS, PaperSet

Protocol = Literal["native", "paper"]


class ExperimentConfig(ModelConfig, AttributesConfig):
    """Scores to compare with human opinion: the configuration under test, and variants of it."""

    iqa_set: str | None = Field(
        default=None, description="name of the set, for tables and figures, and for `--protocol`"
    )
    protocol: Protocol = Field(
        default="native",
        description="`native` takes pictures as `score` does; `paper` takes the pictures of "
        "`--iqa-set` that the paper's authors took, resizes them as they did, and adds their "
        "statistics",
    )
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
        description="a table of variants: `lambda`, `magnitude`, `weights`, `fixed`, `alpha`, "
        "`crops`, `prompts`, comma-separated; `all` is all of them",
    )
    backbone: tuple[str, ...] = Field(
        default=(),
        description="a further model in that table, `NAME` or `NAME=WEIGHTS`; may be repeated",
    )

    @model_validator(mode="after")
    def _paper_has_the_set(self) -> Self:
        if self.protocol == "paper" and self.iqa_set not in PAPER_SETS:
            hint = did_you_mean(self.iqa_set or "", PAPER_SETS, f"it has {', '.join(PAPER_SETS)}")
            what = "--protocol paper: say which of its sets this is with --iqa-set"
            if self.iqa_set:
                what = f"--iqa-set {self.iqa_set}: the paper has no such set"
            raise ValueError(f"{what}; {hint}")
        return self

    @model_validator(mode="after")
    def _by_is_asked(self) -> Self:
        known = attribute_columns(self.asked())
        if self.by is not None and self.by not in known:
            hint = did_you_mean(self.by, known, "ask it with --attribute")
            raise ValueError(f"--by {self.by}: no attribute that is asked; {hint}")
        return self

    @property
    def paper_set(self) -> PaperSet | None:
        """What the authors do with the set; None unless it is to be done as they do."""
        return PAPER_SETS[self.iqa_set or ""] if self.protocol == "paper" else None

    def compared(self) -> dict[str, PromptPairs]:
        """Return the attributes that are compared with opinions."""
        asked = self.asked()
        columns = zip(asked, attribute_columns(asked), strict=True)
        return {name: asked[name] for name, column in columns if self.by in (None, column)}
