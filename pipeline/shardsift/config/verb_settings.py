"""Settings of the smaller verbs, a class each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import ByteSize, Field, model_validator

from shardsift.config.base import CommaSeparated, Config, Given, OneOrMore, Share, TableConfig
from shardsift.config.heads import HeadsConfig
from shardsift.config.measure_settings import AttributesConfig, PromptPairs, attribute_columns
from shardsift.config.mistakes import did_you_mean
from shardsift.config.run_settings import RayConfig, ReadingConfig
from shardsift.config.score_settings import ModelConfig

SAMPLES_PER_SHARD = 10_000
"""Samples in a tar by default, as in img2dataset and DataComp's resharder."""


class ReshardConfig(RayConfig):
    """Settings of `reshard`."""

    shards: Annotated[tuple[str, ...], Given.BY_PLACE] = Field(
        default=(),
        description="the scored shards: paths, globs, braces, folders, @list.txt, any fsspec URL; "
        "by default, those that the `score` run recorded",
    )
    keep: str = Field(description="the output of `filter`: a folder or URL")
    output: str | None = Field(default=None, description="folder or URL for the new shards")
    annotations: str | None = Field(
        default=None, description="the output of `score`, if it has moved since it was filtered"
    )
    to: Literal["tar", "parquet"] = Field(
        default="tar",
        description="kind of the new shards: `tar`, or `parquet` for kept rows of Parquet files, "
        "with all of their columns",
    )
    samples_per_shard: int | None = Field(
        default=None, ge=1, description="most samples in a shard; 10,000 by default"
    )
    bytes_per_shard: ByteSize | None = Field(
        default=None,
        ge=1,
        description="approximate size of a shard, such as 1GB; with both, the limit that is "
        "reached first",
    )
    cpus_per_actor: float = Field(default=1.0, gt=0, description="CPU cores of an actor")
    annotate_columns: Annotated[tuple[str, ...], CommaSeparated] = Field(
        default=("quality", "q_sim", "q_mag"),
        min_length=1,
        description="columns of annotations to write into each sample's `.json`, "
        "comma-separated, such as `quality,attr_watermark,phash`; hashes are "
        "written in hexadecimal. `none` copies `.json` files unchanged",
    )
    overwrite: bool = Field(default=False, description="replace the output of an earlier `reshard`")
    dry_run: bool = Field(default=False, description="check and plan everything, write nothing")

    @model_validator(mode="after")
    def _adds_to_json(self) -> Self:
        if self.to == "parquet" and "annotate_columns" in self.model_fields_set:
            raise ValueError(
                "--annotate-columns is for tars; `shardsift export --into` adds columns to Parquet"
            )
        return self

    @property
    def merged(self) -> tuple[str, ...]:
        """The columns that are written into each `.json`."""
        is_left = self.to == "parquet" or self.annotate_columns == ("none",)
        return () if is_left else self.annotate_columns

    def limits(self) -> tuple[int | None, int | None]:
        """Return samples and bytes of a shard; None for no limit."""
        samples = self.samples_per_shard
        if samples is None and self.bytes_per_shard is None:
            samples = SAMPLES_PER_SHARD
        return samples, self.bytes_per_shard


class DoctorConfig(ModelConfig, TableConfig):
    """Settings of `doctor`."""

    places: Annotated[tuple[str, ...], Given.BY_PLACE] = Field(
        default=(),
        description="shards to read, and folders to write into; any fsspec URL. The first shard "
        "is read for a moment; in a folder without shards, a file is written and "
        "removed",
    )
    address: str | None = Field(
        default=None,
        description="the Ray cluster to check, such as `auto`; by default, one is started on "
        "this machine",
    )
    seconds: float = Field(
        default=2.5, gt=0, description="seconds to measure each of the four stages"
    )


class AskConfig(AttributesConfig, HeadsConfig, RayConfig):
    """Settings of `ask`: questions, heads, annotations with embeddings, and output."""

    annotations: Annotated[str, Given.BY_PLACE] = Field(
        description="the output of a `score` run with `--embeddings`: a folder or URL"
    )
    output: str | None = Field(default=None, description="folder or URL for the answers")
    model: str | None = Field(
        default=None, description="the model of that run, if its config has moved"
    )
    pretrained: str | None = Field(
        default=None, description="the weights of that run, if they have moved"
    )
    cpus_per_actor: float = Field(default=1.0, gt=0, description="CPU cores of an actor")
    overwrite: bool = Field(default=False, description="replace the output of an earlier `ask`")


_ANNOTATIONS = "the output of a `score` run: a folder or URL"


class CompactConfig(Config):
    """Settings of `compact`."""

    annotations: Annotated[str, Given.BY_PLACE] = Field(description=_ANNOTATIONS)
    output: str = Field(description="folder or URL for the merged files")
    bytes_per_file: ByteSize = Field(
        default=ByteSize(256 << 20), ge=1, description="approximate size of a file, such as 1GB"
    )
    overwrite: bool = Field(default=False, description="replace the output of an earlier `compact`")


class BesideConfig(Config):
    """Outputs whose columns are added to those of annotations."""

    beside: Annotated[tuple[str, ...], OneOrMore] = Field(
        default=(),
        alias="with",
        description="another output of the same shards, such as that of `ask`, whose columns "
        "are added to the annotations row by row; may be repeated",
    )


class ExportConfig(BesideConfig):
    """Settings of `export`."""

    annotations: Annotated[str, Given.BY_PLACE] = Field(description=_ANNOTATIONS)
    into: str | None = Field(
        default=None,
        description="Parquet files to add columns to, such as those of img2dataset: a file, a "
        "folder or a glob. Copies are written, a file for each",
    )
    to: Literal["csv", "jsonl", "lance"] | None = Field(
        default=None, description="kind of a table of all rows: `csv`, `jsonl` or `lance`"
    )
    output: str = Field(
        description="folder or URL for the copies of `into`; the file of a table, or the folder of "
        "a Lance data set"
    )
    columns: Annotated[tuple[str, ...], CommaSeparated] = Field(
        default=(),
        description="columns of annotations to write, comma-separated; by default, all for a "
        "table, and for `into` `quality`, `q_sim`, `q_mag`, those of further measures, and `error`",
    )
    prefix: str = Field(default="", description="beginning of the new columns' names, for `into`")
    on: str | None = Field(
        default=None,
        description="the key of `into`, as in `filter`; by default, rows are matched by their "
        "place if the files are those that were scored, else by the first key that they have",
    )
    allow_missing: bool = Field(
        default=False,
        description="continue although annotation files are missing, or the run hasn't finished",
    )
    overwrite: bool = Field(default=False, description="replace the output of an earlier `export`")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.into is None) == (self.to is None):
            raise ValueError("give one of --into and --to")
        if self.to and (self.prefix or self.on):
            raise ValueError("--prefix and --on are for --into")
        return self


class StatsConfig(BesideConfig, TableConfig):
    """Settings of `stats`."""

    annotations: Annotated[str, Given.BY_PLACE] = Field(description=_ANNOTATIONS)


class VerifyConfig(TableConfig):
    """Settings of `verify`."""

    output: Annotated[str, Given.BY_PLACE] = Field(
        description="the output of `score`, `compact`, `filter`, `ask` or `reshard`: a folder or "
        "URL"
    )
    shards: tuple[str, ...] = Field(
        default=(),
        description="shards to compare with, instead of the inputs that the run recorded; may "
        "be repeated. If they have moved, the folder that their names are relative "
        "to; for an output of `reshard`, that of its sources",
    )
    recount: bool = Field(
        default=False,
        description="also read the scored tars, and compare size, version and samples with the "
        "annotations",
    )
    repair: bool = Field(
        default=False,
        description="delete damaged, stale and left-over files, so that the same `score`, `ask` "
        "or `reshard` command makes them again; files of others stay",
    )


class ReportConfig(BesideConfig):
    """Settings of `report`."""

    annotations: Annotated[str, Given.BY_PLACE] = Field(description=_ANNOTATIONS)
    output: str = Field(description="folder or URL for `report.html`")
    shards: str | None = Field(
        default=None,
        description="where the shards lie now, if they have moved: the folder that shard names are "
        "relative to",
    )
    min_quality: float | None = Field(default=None, description="initial threshold")
    keep_top: Share = Field(
        default=0.3, ge=0, le=1, description="initial share kept, if no threshold is given"
    )
    thumbnails: int = Field(default=240, ge=0, le=1000, description="pictures in the page")
    rows: int = Field(
        default=200_000, ge=1, description="most rows in the page; a larger run is sampled"
    )
    per: str = Field(
        default="prefix",
        description="how rows are grouped: `prefix`, as `filter` does, or by a column of "
        "annotations, of `with` or of `join`",
    )
    join: str | None = Field(
        default=None,
        description="a table with the column of `per`, as in `filter`",
    )
    model: str | None = Field(
        default=None,
        description="compute heat maps of the pictures with this model, which has to be that of "
        "the run; the number of crops is printed first",
    )
    pretrained: str | None = Field(
        default=None, description="the weights of `model`, if they have moved"
    )
    device: str = Field(default="cpu", description="`cpu`, `cuda` or `cuda:N`, for heat maps")
    open: bool = Field(default=False, description="open the page in a browser")


class CompareConfig(BesideConfig, TableConfig):
    """Settings of `compare`."""

    run_a: Annotated[str, Given.BY_PLACE] = Field(description=_ANNOTATIONS)
    run_b: Annotated[str, Given.BY_PLACE] = Field(
        description="the output of another run over the same shards"
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
        description="shares to keep, whose overlap is computed; may be repeated",
    )
    open: bool = Field(default=False, description="open the page in a browser")

    @model_validator(mode="after")
    def _opens_what_is_written(self) -> Self:
        if self.open and self.output is None:
            raise ValueError("--open shows the page, which needs an --output")
        return self


class ExplainConfig(ModelConfig, TableConfig):
    """Settings of `explain`."""

    images: Annotated[tuple[str, ...], Given.BY_PLACE] = Field(
        default=(), description="image files; any fsspec URL"
    )
    annotations: str | None = Field(
        default=None,
        description="the output of a `score` run, whose samples are chosen by `key`. Its "
        "settings are used; `model` and other flags change them",
    )
    key: tuple[str, ...] = Field(
        default=(), description="key of a sample of `annotations`; may be repeated"
    )
    shard: str | None = Field(
        default=None,
        description="the shard of `key`, as annotations name it; by default, all "
        "shards are searched",
    )
    shards: str | None = Field(
        default=None,
        description="where the shards lie now, if they have moved: the folder that shard names are "
        "relative to",
    )
    output: Path | None = Field(
        default=None, description="folder for heat maps; without it, only a table is printed"
    )
    every_crop: bool = Field(
        default=False, description="also print a table of all crops of each image"
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
    """Settings of `config`."""

    name: Annotated[str | None, Given.BY_PLACE] = Field(
        default=None,
        description="an included config, such as `laptop`, or a verb, such as `filter`; by "
        "default, all are listed",
    )


class DemoConfig(Config):
    """Settings of `demo`."""

    output: Path = Field(
        default=Path("demo"), description="folder for shards, annotations and keep-list"
    )


class OpinionsConfig(ModelConfig, AttributesConfig):
    """Settings of whatever compares scores with human opinion."""

    mos_field: str = Field(default="mos", description="name of the rating: a field or a column")
    by: str | None = Field(
        default=None,
        description="the attribute to compare with ratings, such as `attr_sharpness`; by "
        "default, all of `--attribute`",
    )
    higher_is_worse: bool = Field(
        default=False, description="higher ratings mean worse pictures, as in DMOS"
    )
    limit: int | None = Field(default=None, ge=8, description="read only this number of images")
    resamples: int = Field(
        default=1000, ge=0, description="resamples of the bootstrap; 0 for no intervals"
    )

    @model_validator(mode="after")
    def _by_is_asked(self) -> Self:
        known = attribute_columns(self.asked())
        if self.by is not None and self.by not in known:
            hint = did_you_mean(self.by, known, "ask it with --attribute")
            raise ValueError(f"--by {self.by}: is no attribute of --attribute; {hint}")
        return self

    def compared(self) -> dict[str, PromptPairs]:
        """Return the attributes that are compared with opinions."""
        asked = self.asked()
        columns = zip(asked, attribute_columns(asked), strict=True)
        return {name: asked[name] for name, column in columns if self.by in (None, column)}


class EvaluateConfig(OpinionsConfig, ReadingConfig, TableConfig):
    """Settings of `evaluate`."""

    shards: Annotated[tuple[str, ...], Given.BY_PLACE] = Field(
        min_length=1,
        description="shards whose samples have a rating: in the `.json` of tars, in a column of "
        "Parquet files, or in `metadata.csv` or `metadata.jsonl` of a folder of pictures",
    )
    output: Path = Field(
        description="folder for `evaluation.html`, `evaluation.json`, `table.md` and "
        "`predictions.csv`"
    )
