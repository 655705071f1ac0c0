"""Settings of `filter`: which samples to keep, and how to write them down."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shardsift.config.base import CommaSeparated, Given, OneOrMore, Share, TableConfig

Emit = Literal["keep-list", "uids"]
PREFIX, MEGAPIXELS = "prefix", "megapixels"
QUALITY = "quality"


class FilterConfig(TableConfig):
    """Settings of `filter`."""

    annotations: Annotated[str, Given.BY_PLACE] = Field(
        description="the output of `score`: a folder or URL"
    )
    output: str | None = Field(
        default=None, description="folder or URL for what is kept; not in the annotations"
    )
    by: str = Field(
        default=QUALITY,
        description="what decides which sample is better, the higher the better: a column of "
        "annotations, of `with` or of `join`, or an expression in SQL of one row, such as "
        "`quality - 0.3 * attr_watermark`. Rows without a value (null or NaN) are left out, and "
        "counted",
    )
    random: int | None = Field(
        default=None,
        ge=0,
        lt=1 << 63,
        description="rank by chance instead, from this seed: a hash of seed, shard and index, the "
        "same in any order of files. The control of an experiment",
    )
    min: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="keep samples whose value of `by` is this or more",
    )
    min_quality: float | None = Field(
        default=None, allow_inf_nan=False, description="keep samples of this quality or more"
    )
    keep_top: Share | None = Field(
        default=None,
        gt=0,
        le=1,
        description="keep this best share, such as 0.3 or 30%, of the scored samples that "
        "`exclude`, `where` and `unique` leave",
    )
    keep_count: int | None = Field(
        default=None, ge=1, description="keep this number of samples, the best"
    )
    where: str | None = Field(
        default=None,
        description="a condition in SQL on the columns of annotations, of `with` and of `join`, "
        "which kept samples fulfil, such as `width >= 256 AND q_mag > 0.7`. DuckDB's SQL with all "
        "functions of one row; no aggregates, windows or subqueries",
    )
    unique: str | None = Field(
        default=None,
        description="of the samples with one value keep the best alone: `phash` or `sha256` (see "
        "`--hashes` of `score`), `uid`, a column of `with` or `join`, or an expression in SQL of "
        "one row, such as `nullif(cluster, -1)`. Those without a value all stay, and `keep_top` is "
        "a share of what is left",
    )
    per: str | None = Field(
        default=None,
        description="take `keep_top` within groups: `prefix` (the shard's folder; if all lie in "
        "one, its name without the numbers at its end; one group if these are alike, too), "
        "`megapixels`, a column of annotations, of `with` or of `join`, or an expression in SQL of "
        "one row",
    )
    beside: Annotated[tuple[str, ...], OneOrMore] = Field(
        default=(),
        alias="with",
        description="another output of the same shards, such as that of `ask`, whose columns stand "
        "row for row beside those of the annotations; one that was made of other samples or "
        "embeddings is refused. `OUTPUT AS ai` names it for `ai.attr_text`; without, it is `other` "
        "(a second one `other2`). May be given several times",
    )
    join: Annotated[tuple[str, ...], OneOrMore] = Field(
        default=(),
        description="a table with further columns: Parquet, CSV or JSON lines, as a file, a folder "
        "or a glob. `TABLE AS laion` names it for `laion.WIDTH`; "
        "without, it is `joined` (a second one `joined2`). Rows that it doesn't have are a group "
        "of their own in `per`, and null elsewhere. May be given several times",
    )
    on: Annotated[tuple[str, ...], OneOrMore] = Field(
        default=(),
        description="what names a row of annotations and of `join`, such as `shard,key`, `uid` or "
        "`key=file_name`; without it, the first of `shard,key`, `uid`, `key` and `shard,index` "
        "that the table has. One for all of `join`, or one each",
    )
    exclude: Annotated[tuple[str, ...], OneOrMore] = Field(
        default=(),
        description="a table of samples to leave out, such as takedowns: Parquet, CSV or JSON "
        "lines with `shard` and `key`, `uid`, `key`, or `shard` and `index`. May be given several "
        "times",
    )
    errors: Literal["drop", "keep"] = Field(
        default="drop",
        description="`drop` or `keep` samples without a score: in addition to what was asked for; "
        "they have to satisfy `where`, too",
    )
    emit: Annotated[tuple[Emit, ...], CommaSeparated] = Field(
        default=("keep-list",),
        min_length=1,
        description="what to write, comma-separated: `keep-list` and `uids` (what DataComp's "
        "resharder takes)",
    )
    allow_missing: bool = Field(
        default=False,
        description="go on though annotation files are missing, or the run hasn't come to its end",
    )
    overwrite: bool = Field(default=False, description="replace what an earlier filter wrote")
    dry_run: bool = Field(default=False, description="find the threshold and count, write nothing")

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        rules = (self.min, self.min_quality, self.keep_top, self.keep_count)
        if sum(rule is not None for rule in rules) != 1:
            raise ValueError("give one of --keep-top, --keep-count, --min-quality and --min")
        if self.output is None and not self.dry_run:
            raise ValueError("give an --output, or --dry-run to count alone")
        problems: list[str] = []
        if self.per and self.keep_top is None:
            problems.append("--per needs --keep-top")
        names_columns = self.per or self.where or self.unique or self.by != QUALITY
        if self.join and not names_columns:
            problems.append(
                "--join is for --by, --where, --unique or --per, which name its columns"
            )
        if len(self.on) > max(1, len(self.join)) or (self.on and not self.join):
            problems.append("--on says what names a row of a --join: one for all, or one each")
        if self.random is not None and (self.by != QUALITY or self.least is not None):
            problems.append("--random ranks by chance, with --keep-top or --keep-count alone")
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
        left_out.add("as_json")
        told = self.model_dump(mode="json", by_alias=True, exclude=left_out, exclude_none=True)
        return {name: value for name, value in told.items() if value != []}
