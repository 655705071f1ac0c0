"""What `reshard` may be asked for."""

from __future__ import annotations

from typing import Annotated

from pydantic import ByteSize, Field

from shardsift.config import CommaSeparated, Given, RayConfig

SAMPLES_PER_SHARD = 10_000
"""As img2dataset and DataComp's resharder have it, if nothing else is asked for."""


class ReshardConfig(RayConfig):
    """Which samples to copy, and into what."""

    shards: Annotated[tuple[str, ...], Given.BY_PLACE] = Field(
        default=(),
        description="the scored tars: paths, globs, braces, folders, @list.txt, any fsspec URL; by "
        "default those that the `score` run has recorded",
    )
    keep: str = Field(description="the output of `filter`: a folder or URL")
    output: str | None = Field(default=None, description="folder or URL for the new tars")
    annotations: str | None = Field(
        default=None, description="the output of `score`, if it has moved since it was filtered"
    )
    samples_per_shard: int | None = Field(
        default=None, ge=1, description="samples in a tar at most; 10,000 by default"
    )
    bytes_per_shard: ByteSize | None = Field(
        default=None,
        ge=1,
        description="or its size, about, such as 1GB; with both, what is reached first",
    )
    cpus_per_actor: float = Field(default=1.0, gt=0, description="CPU cores of an actor")
    annotate_columns: Annotated[tuple[str, ...], CommaSeparated] = Field(
        default=("quality", "q_sim", "q_mag"),
        min_length=1,
        description="columns of annotations to write into each sample's `.json`, comma-separated, "
        "such as `quality,attr_watermark,phash`; hashes are written in hexadecimal digits. `none` "
        "leaves all bytes as they are",
    )
    overwrite: bool = Field(default=False, description="replace what an earlier `reshard` wrote")
    dry_run: bool = Field(default=False, description="check and plan everything, write nothing")

    @property
    def merged(self) -> tuple[str, ...]:
        """The columns that are written into each `.json`."""
        return () if self.annotate_columns == ("none",) else self.annotate_columns

    def limits(self) -> tuple[int | None, int | None]:
        """Return samples and bytes of a tar; None for no limit."""
        samples = self.samples_per_shard
        if samples is None and self.bytes_per_shard is None:
            samples = SAMPLES_PER_SHARD
        return samples, self.bytes_per_shard
