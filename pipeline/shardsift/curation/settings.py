"""What `filter` may be asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from shardsift.config import Settings

Emit = Literal["keep-list", "uids", "shards"]
PREFIX, MEGAPIXELS = "prefix", "megapixels"


class FilterConfig(Settings):
    """Which samples to keep, and how to write them down."""

    annotations: str = Field(description="the output of a `score` run: a folder or URL")
    output: str | None = Field(default=None, description="folder or URL for what is kept")
    min_quality: float | None = Field(
        default=None, allow_inf_nan=False, description="keep samples of this quality or more"
    )
    keep_top: float | None = Field(default=None, gt=0, le=1, description="keep this best share")
    keep_count: int | None = Field(default=None, ge=1, description="keep so many, the best")
    of: Literal["scored", "all"] = Field(
        default="scored",
        description="what `keep_top` is a share of: samples that are scored and pass `where`, or "
        "all that have a row",
    )
    where: str | None = Field(
        default=None, description="SQL condition on annotation columns that kept samples fulfil"
    )
    per: str | None = Field(
        default=None,
        description="take `keep_top` within buckets: `prefix` of the shard, `megapixels`, or a "
        "column of `join`",
    )
    join: str | None = Field(
        default=None,
        description="Parquet file, or folder of them, that has the column `per`, and `uid`, "
        "`key`, or `shard` and `key`",
    )
    errors: Literal["drop", "keep"] = Field(
        default="drop", description="what becomes of samples without a score"
    )
    emit: tuple[Emit, ...] = Field(
        default=("keep-list",),
        min_length=1,
        description="what to write: `keep-list`, `uids`, `shards`",
    )
    approximate: bool = Field(
        default=False, description="find the threshold from sketches, without reading rows"
    )
    allow_missing: bool = Field(
        default=False, description="go on though annotations are missing or the run isn't finished"
    )
    overwrite: bool = Field(default=False, description="replace what an earlier filter wrote")
    dry_run: bool = Field(default=False, description="count, and write nothing")

    @field_validator("emit", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return [word.strip() for word in value.split(",")]
        return value

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        rules = (self.min_quality, self.keep_top, self.keep_count)
        if sum(rule is not None for rule in rules) != 1:
            raise ValueError("give one of min_quality, keep_top and keep_count")
        if self.output is None and not self.dry_run:
            raise ValueError("give an output, or dry_run")
        for problem in self._conflicts():
            raise ValueError(problem)
        return self

    def _conflicts(self) -> Sequence[str]:
        problems: list[str] = []
        if self.of == "all" and self.keep_top is None:
            problems.append("`of: all` needs keep_top")
        if self.per and (self.keep_top is None or self.of == "all"):
            problems.append("per needs keep_top, of scored samples")
        if self.join and not self.per:
            problems.append("join needs per, the column that it is joined for")
        if self.approximate and (self.where or self.per):
            problems.append("approximate reads no rows, so it knows nothing of where and per")
        if "shards" in self.emit and "keep-list" not in self.emit:
            problems.append("shards are made of the keep-list: emit keep-list,shards")
        if self.approximate and self.min_quality is not None:
            problems.append("approximate finds a threshold; min_quality is one")
        return problems

    def rule(self) -> dict[str, object]:
        """What decides which samples are kept, for records: no locations but that of `join`."""
        left_out = {"annotations", "output", "emit", "overwrite", "dry_run", "allow_missing"}
        return self.model_dump(mode="json", exclude=left_out, exclude_none=True)
