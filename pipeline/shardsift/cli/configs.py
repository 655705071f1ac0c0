"""What the verbs may be asked for that have no config in the library.

Light: `shardsift --help` reads all of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import ByteSize, Field, model_validator

from shardsift.config import Config, Given, ModelConfig, OneOrMore, Share, TableConfig

_ANNOTATIONS = "the output of a `score` run: a folder or URL"


class CompactConfig(Config):
    """Few large annotation files in place of many small ones."""

    annotations: Annotated[str, Given.BY_PLACE] = Field(description=_ANNOTATIONS)
    output: str = Field(description="folder or URL for the few files")
    bytes_per_file: ByteSize = Field(
        default=ByteSize(256 << 20), ge=1, description="size of a file, about, such as 1GB"
    )
    overwrite: bool = Field(default=False, description="replace what an earlier `compact` wrote")


class BesideConfig(Config):
    """Outputs whose columns stand beside those of annotations."""

    beside: Annotated[tuple[str, ...], OneOrMore] = Field(
        default=(),
        alias="with",
        description="another output of the same shards, such as that of `ask`, whose columns stand "
        "row for row beside those of the annotations; may be given several times",
    )


class StatsConfig(BesideConfig, TableConfig):
    """A run in numbers."""

    annotations: Annotated[str, Given.BY_PLACE] = Field(description=_ANNOTATIONS)


class VerifyConfig(TableConfig):
    """What to check of an output."""

    output: Annotated[str, Given.BY_PLACE] = Field(
        description="the output of `score`, `compact`, `filter`, `ask` or `reshard`: a folder or "
        "URL"
    )
    shards: tuple[str, ...] = Field(
        default=(),
        description="what should be annotated, instead of the inputs that the run recorded; may be "
        "repeated. If the shards have moved, the folder that their names are relative to, as of a "
        "`reshard` that of its sources",
    )
    recount: bool = Field(
        default=False,
        description="read the scored tars, too, and compare size, version and samples with what "
        "was scored",
    )
    repair: bool = Field(
        default=False,
        description="delete what is damaged, stale or left over, so that the same `score`, "
        "`ask` or `reshard` command makes just that again; files of others stay",
    )


class ReportConfig(BesideConfig):
    """What a report shows, and where its slider stands at first."""

    annotations: Annotated[str, Given.BY_PLACE] = Field(description=_ANNOTATIONS)
    output: str = Field(description="folder or URL for `report.html`")
    shards: str | None = Field(
        default=None,
        description="where the shards lie now, if they have moved: the folder that shard names are "
        "relative to",
    )
    min_quality: float | None = Field(
        default=None, description="the quality at which the slider stands at first"
    )
    keep_top: Share = Field(
        default=0.3, ge=0, le=1, description="or the share that it keeps at first"
    )
    thumbnails: int = Field(default=240, ge=0, le=1000, description="pictures in the page")
    rows: int = Field(
        default=200_000, ge=1, description="rows to read; of a larger run a sample is shown"
    )
    per: str = Field(
        default="prefix",
        description="what the parts of the corpus are: `prefix`, as of `filter`, or a column of "
        "annotations, of `with` or of `join`",
    )
    join: str | None = Field(
        default=None,
        description="a table with the column of `per`, as of `filter`",
    )
    model: str | None = Field(
        default=None,
        description="compute heat maps of the pictures by this model, which scored the run; what "
        "it costs is told before",
    )
    pretrained: str | None = Field(
        default=None, description="the weights of `model`, if they lie elsewhere than recorded"
    )
    device: str = Field(default="cpu", description="`cpu`, `cuda` or `cuda:N`, for heat maps")
    open: bool = Field(default=False, description="open the page in a browser")


class CompareConfig(BesideConfig, TableConfig):
    """Two runs over the same shards."""

    run_a: Annotated[str, Given.BY_PLACE] = Field(description=_ANNOTATIONS)
    run_b: Annotated[str, Given.BY_PLACE] = Field(
        description="the output of another one over the same shards"
    )
    output: str | None = Field(
        default=None, description="folder or URL for `comparison.json` and `comparison.html`"
    )
    shards: str | None = Field(
        default=None,
        description="where the shards lie now, if they have moved: the folder that shard names are "
        "relative to",
    )
    thumbnails: int = Field(default=240, ge=0, le=1000, description="pictures in the page")
    keep_top: tuple[Annotated[Share, Field(ge=0, le=1)], ...] = Field(
        default=(0.1, 0.3, 0.5, 0.7),
        description="shares to keep, whose overlap is told; may be repeated",
    )
    open: bool = Field(default=False, description="open the page in a browser")

    @model_validator(mode="after")
    def _opens_what_is_written(self) -> Self:
        if self.open and self.output is None:
            raise ValueError("--open shows the page, which needs an --output")
        return self


class ExplainConfig(ModelConfig, TableConfig):
    """Single images to look into."""

    images: Annotated[tuple[str, ...], Given.BY_PLACE] = Field(
        default=(), description="image files; any fsspec URL"
    )
    annotations: str | None = Field(
        default=None,
        description="the output of a `score` run, whose samples are explained by `key`, with the "
        "model that scored them; `model` and others change that",
    )
    key: tuple[str, ...] = Field(
        default=(), description="key of a sample of `annotations`; may be repeated"
    )
    shard: str | None = Field(
        default=None, description="the shard of `key`, as annotations name it; without it, all"
    )
    shards: str | None = Field(
        default=None,
        description="where the shards lie now, if they have moved: the folder that shard names are "
        "relative to",
    )
    output: Path | None = Field(
        default=None, description="folder for heat maps; without it, the table alone"
    )
    every_crop: bool = Field(
        default=False, description="print a table of all crops of each image, too"
    )

    @model_validator(mode="after")
    def _has_images(self) -> Self:
        if bool(self.annotations) != bool(self.key):
            raise ValueError("--annotations and --key go together")
        if bool(self.images) == bool(self.key):
            raise ValueError("give image files, or --annotations and --key")
        if not self.key and (self.shard or self.shards):
            raise ValueError("--shard and --shards are for --key")
        return self


class ConfigConfig(Config):
    """What to show of configs."""

    name: Annotated[str | None, Given.BY_PLACE] = Field(
        default=None,
        description="a config that comes along, such as `laptop`, or a verb, such as `filter`; "
        "without it, what there is",
    )


class DemoConfig(Config):
    """The whole way on made-up shards."""

    output: Path = Field(
        default=Path("demo"), description="folder for shards, annotations and what is kept"
    )
