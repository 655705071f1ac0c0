"""Settings of a run: shards, output, and resources."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from shardsift.config.base import CommaSeparated, Config, Given
from shardsift.config.measure_settings import MeasuresConfig
from shardsift.config.score_settings import ScoreConfig
from shardsift.reading import KeyBy, Reading


class RayConfig(Config):
    """Settings of every run on Ray."""

    actors: int | None = Field(
        default=None,
        ge=1,
        description="number of actors; by default, as many as fit now. On a cluster that you "
        "join, actors that don't fit yet start when nodes are added",
    )
    address: str | None = Field(
        default=None,
        description="the Ray cluster to join, such as `auto`; by default, one is started on "
        "this machine",
    )
    max_attempts: int = Field(
        default=3,
        ge=1,
        description="attempts for a shard before it is recorded in `_failed/`; a lost or "
        "preempted node costs none",
    )
    shard_timeout: float = Field(
        default=3600.0,
        gt=0,
        description="seconds for one shard; then its actor is killed, which costs one attempt",
    )
    force: bool = Field(
        default=False,
        description="continue although another run writes into this output; equal runs write "
        "equal files",
    )


class ReadingConfig(Config):
    """Settings that decide which samples a shard has."""

    image: str | None = Field(
        default=None,
        description="the column of Parquet files that has the pictures, if there are several",
    )
    key: str | None = Field(
        default=None,
        description="the column of Parquet files that has the keys; by default, keys are the "
        "numbers of rows",
    )
    key_by: KeyBy = Field(
        default="dot",
        description="where the key of a file in a tar ends: at the first `dot` of its name, as in "
        "webdataset, or at the last, `stem`, for names such as `2024.05.02.jpg`",
    )

    def reading(self) -> Reading:
        """Return these settings."""
        return Reading(image=self.image, key=self.key, key_by=self.key_by)


PICTURE_SECONDS = 60.0

_DECODE_THREADS = 2
"""Decoder threads of an actor; two processes are slower than two threads."""


class RunConfig(ScoreConfig, MeasuresConfig, ReadingConfig, RayConfig):
    """A `score` run: what to score, where to write, and with what resources."""

    shards: Annotated[tuple[str, ...], Given.BY_PLACE] = Field(
        default=(),
        description="a folder of pictures, or tars or Parquet files: paths, globs, {000..123} "
        "braces, folders, @list.txt; any fsspec URL",
    )
    output: str | None = Field(
        default=None, description="folder or URL for the annotations; not a folder of shards"
    )
    gpus_per_actor: float = Field(
        default=1.0,
        ge=0,
        description="GPUs per actor; with 0.5, two actors share a GPU; 0 scores on CPUs",
    )
    cpus_per_actor: float | None = Field(
        default=None,
        gt=0,
        description="CPU cores per actor; by default 1, or with a GPU, its share of the "
        "machine's cores",
    )
    decode_workers: int | None = Field(
        default=None,
        ge=0,
        description="decoding processes per actor; by default, the actor's cores less two, if "
        "it has a GPU and at least five cores. With 0, two threads of the actor "
        "decode",
    )
    picture_timeout: float = Field(
        default=PICTURE_SECONDS,
        gt=0,
        description="seconds of processor time for decoding one image; beyond, it gets a "
        "`too_slow` row. A decoding process is ended then; a thread notices it "
        "after decoding",
    )
    stall_timeout: float = Field(
        default=600.0,
        gt=0,
        description="seconds in which an actor with a GPU has to read a sample or score an "
        "image; else it counts as hung and is restarted, which costs its shard one "
        "attempt",
    )
    batch_size: int | None = Field(
        default=None,
        ge=1,
        description="crops in one call of the encoder; by default 256 on a GPU, 64 on a CPU. "
        "Scores change by at most 1e-6",
    )
    rescore: Annotated[tuple[Literal["errors", "changed"], ...], CommaSeparated] = Field(
        default=(),
        description="score shards again: `errors`, those that have rows with an error; "
        "`changed`, those whose tar has changed. If the corpus has moved, give its "
        "new folder and `changed`; then only sizes are compared",
    )
    overwrite: bool = Field(
        default=False,
        description="replace the annotations in this output; other files stay",
    )
    dry_run: bool = Field(default=False, description="check everything, score nothing")

    def decode_workers_of_actor(self) -> int:
        """Return the number of processes that decode for an actor."""
        if self.decode_workers is not None:
            return self.decode_workers
        spare = int(self.cpus_per_actor or 1) - 2
        return spare if self.gpus_per_actor and spare > _DECODE_THREADS else 0

    @model_validator(mode="after")
    def _float16_has_a_gpu(self) -> RunConfig:
        if self.dtype == "float16" and not self.gpus_per_actor:
            raise ValueError("float16 is for GPUs; use bfloat16 or float32 on CPUs")
        return self
