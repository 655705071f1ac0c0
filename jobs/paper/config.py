"""Settings of the paper's evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from jobs.paper.protocol import PAPER_SETS, PaperSet
from shardsift.config import CommaSeparated, Config, Given, ModelConfig, TableConfig, did_you_mean
from shardsift.config.verb_settings import OpinionsConfig

Protocol = Literal["native", "paper"]


class ExperimentConfig(OpinionsConfig, TableConfig):
    """Scores to compare with human opinion: the configuration under test, and variants of it."""

    shards: Annotated[tuple[str, ...], Given.BY_PLACE] = Field(
        min_length=1, description="tars whose samples have a rating in their `.json`"
    )
    output: Path = Field(
        description="folder for `evaluation.json`, `table.md`, `predictions.csv` and the figures"
    )
    brisque: bool = Field(
        default=True, description="compare with BRISQUE, which takes most of the time"
    )
    iqa_set: str | None = Field(
        default=None, description="name of the set, for tables and figures, and for `--protocol`"
    )
    protocol: Protocol = Field(
        default="native",
        description="`native` takes pictures as `score` does; `paper` takes the pictures of "
        "`--iqa-set` that the paper's authors took, resizes them as they did, and adds their "
        "statistics",
    )
    group_field: str | None = Field(
        default=None,
        description="name of the semantic group in the `.json`, for the spread of the magnitude "
        "cue; by default zero-shot labels",
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

    @property
    def paper_set(self) -> PaperSet | None:
        """The authors' treatment of the set; None unless `protocol` asks for it."""
        return PAPER_SETS[self.iqa_set or ""] if self.protocol == "paper" else None


class IqaShardsConfig(Config):
    """A set of rated images, as downloaded."""

    name: Annotated[str, Given.BY_PLACE] = Field(
        description="`koniq10k`, `spaq`, `livec`, `kadid10k`, `tid2013`, `csiq`, `agiqa1k`, "
        "`agiqa3k`, `pipal`, `flive` or `ava`"
    )
    folder: Annotated[Path, Given.BY_PLACE] = Field(description="the download, unpacked")
    output: str = Field(description="folder or URL for the shards")
    images_per_shard: int = Field(default=1000, ge=1, description="images in a shard")


class PaperConfig(ModelConfig):
    """Settings of the paper's evaluation: sets, variants, protocol."""

    downloads: Annotated[Path, Given.BY_PLACE] = Field(
        description="folder with the unpacked download of each set below its name, as `koniq10k/`"
    )
    output: Path = Field(description="folder for shards, results of each set, and `table.md`")
    ablate: Annotated[tuple[str, ...], CommaSeparated] = Field(
        default=("all",), description="tables of variants, as of `jobs.paper.experiment`"
    )
    backbone: tuple[str, ...] = Field(
        default=(), description="a further model, as of `jobs.paper.experiment`; may be repeated"
    )
    resamples: int = Field(default=1000, ge=0, description="resamples of the bootstrap")
    brisque: bool = Field(default=True, description="compare with BRISQUE")
