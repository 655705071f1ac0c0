"""Settings of `filter`: which samples to keep, and how to write them down."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shardsift.config.base import CommaSeparated, Given, OneOrMore, Share, TableConfig

Emit = Literal["keep-list", "uids", "paths"]
PREFIX, MEGAPIXELS = "prefix", "megapixels"
QUALITY = "quality"


class FilterConfig(TableConfig):
    """Settings of `filter`."""

    annotations: Annotated[str, Given.BY_PLACE] = Field(
        description="the output of `score`: a folder or URL"
    )
    output: str | None = Field(
        default=None, description="folder or URL for the keep-list; not inside the annotations"
    )
    by: str = Field(
        default=QUALITY,
        description="the value to rank samples by, higher is better: a column of annotations, "
        "of `with` or of `join`, or an SQL expression such as `quality - 0.3 * "
        "attr_watermark`. Rows without a value (null or NaN) are dropped and counted",
    )
    random: int | None = Field(
        default=None,
        ge=0,
        lt=1 << 63,
        description="rank by chance instead, for the control run of an experiment: by a hash of "
        "this seed, shard and index, which doesn't depend on the order of files",
    )
    min: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="keep samples whose value of `by` is at least this",
    )
    min_quality: float | None = Field(
        default=None, allow_inf_nan=False, description="keep samples of at least this quality"
    )
    keep_top: Share | None = Field(
        default=None,
        gt=0,
        le=1,
        description="keep this share of the best, such as 0.3 or 30%, of the scored samples "
        "that `exclude`, `where` and `unique` leave",
    )
    keep_count: int | None = Field(
        default=None, ge=1, description="keep this number of the best samples"
    )
    where: str | None = Field(
        default=None,
        description="an SQL condition that kept samples satisfy, on columns of annotations, of "
        "`with` and of `join`, such as `width >= 256 AND q_mag > 0.7`. DuckDB SQL; "
        "no aggregates, windows or subqueries",
    )
    unique: str | None = Field(
        default=None,
        description="keep only the best of all samples with the same value: `phash` or `sha256` "
        "(see `--hashes` of `score`), `uid`, a column of `with` or `join`, or an "
        "SQL expression such as `nullif(cluster, -1)`. All samples without a value "
        "stay, and `keep_top` is a share of the rest",
    )
    per: str | None = Field(
        default=None,
        description="apply `keep_top` to each group. Group by `prefix` (the shard's folder; if "
        "all are in one folder, the shard's name without the numbers at its end), "
        "`megapixels`, a column of annotations, of `with` or of `join`, or an SQL "
        "expression",
    )
    beside: Annotated[tuple[str, ...], OneOrMore] = Field(
        default=(),
        alias="with",
        description="another output of the same shards, such as that of `ask`, whose columns "
        "are added to the annotations row by row; an output of other samples or "
        "embeddings is refused. `OUTPUT AS ai` names it, as in `ai.attr_text`; the "
        "default name is `other` (`other2` for a second one). May be repeated",
    )
    join: Annotated[tuple[str, ...], OneOrMore] = Field(
        default=(),
        description="a table with further columns: Parquet, CSV or JSON lines, as a file, a "
        "folder or a glob. `TABLE AS laion` names it, as in `laion.WIDTH`; the "
        "default name is `joined` (`joined2` for a second one). Rows without a "
        "match are a group of their own in `per`, and null elsewhere. May be "
        "repeated",
    )
    on: Annotated[tuple[str, ...], OneOrMore] = Field(
        default=(),
        description="the key by which rows of annotations and of `join` are matched, such as "
        "`shard,key`, `uid` or `key=file_name`; by default, the first of "
        "`shard,key`, `uid`, `key` and `shard,index` that the table has. One for "
        "all tables, or one for each",
    )
    exclude: Annotated[tuple[str, ...], OneOrMore] = Field(
        default=(),
        description="a table of samples to drop, such as takedowns: Parquet, CSV or JSON lines "
        "with `shard` and `key`, `uid`, `key`, or `shard` and `index`. May be "
        "repeated",
    )
    errors: Literal["drop", "keep"] = Field(
        default="drop",
        description="`drop` or `keep` samples without a score; they are kept in addition to the "
        "others, and have to satisfy `where`, too",
    )
    emit: Annotated[tuple[Emit, ...], CommaSeparated] = Field(
        default=("keep-list",),
        min_length=1,
        description="files to write, comma-separated: `keep-list`; `uids` for DataComp's "
        "resharder; `paths`, `kept.txt` and `dropped.txt` with the paths of a folder's pictures",
    )
    null: bool = Field(
        default=False,
        description="end each of `paths` with a null byte, for names with line breaks, as `rsync "
        "--from0` and `xargs -0` read them",
    )
    allow_missing: bool = Field(
        default=False,
        description="continue although annotation files are missing, or the run hasn't finished",
    )
    overwrite: bool = Field(default=False, description="replace the output of an earlier `filter`")
    dry_run: bool = Field(default=False, description="find the threshold and count, write nothing")

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        rules = (self.min, self.min_quality, self.keep_top, self.keep_count)
        if sum(rule is not None for rule in rules) != 1:
            raise ValueError("give one of --keep-top, --keep-count, --min-quality and --min")
        if self.output is None and not self.dry_run:
            raise ValueError("give an --output, or --dry-run to only count")
        problems: list[str] = []
        if self.per and self.keep_top is None:
            problems.append("--per needs --keep-top")
        names_columns = self.per or self.where or self.unique or self.by != QUALITY
        if self.join and not names_columns:
            problems.append(
                "--join is for --by, --where, --unique or --per, which name its columns"
            )
        if len(self.on) > max(1, len(self.join)) or (self.on and not self.join):
            problems.append(
                "--on names the key of a --join: give one for all tables, or one for each"
            )
        if self.random is not None and (self.by != QUALITY or self.least is not None):
            problems.append("--random ranks by chance; use it only with --keep-top or --keep-count")
        if self.min_quality is not None and self.by != QUALITY:
            problems.append(f"--min-quality is of quality; the lowest {self.by} is --min")
        if self.min is not None and self.by == QUALITY:
            problems.append("--min is of --by; the lowest quality is --min-quality")
        if problems:
            raise ValueError(problems[0])
        return self

    @property
    def least(self) -> float | None:
        """The lowest value that is kept, if it is given."""
        return self.min if self.min is not None else self.min_quality

    def rule(self) -> dict[str, object]:
        """Return what decides which samples are kept: no locations but those of tables."""
        left_out = {"annotations", "output", "emit", "overwrite", "dry_run", "allow_missing"}
        left_out |= {"as_json", "null"}
        told = self.model_dump(mode="json", by_alias=True, exclude=left_out, exclude_none=True)
        return {name: value for name, value in told.items() if value != []}
