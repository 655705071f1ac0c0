"""Settings of a run: shards, output, and resources."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from shardsift.config.base import CommaSeparated, Config, Given
from shardsift.config.measure_settings import MeasuresConfig
from shardsift.config.score_settings import ScoreConfig


class RayConfig(Config):
    """Settings of every run on Ray."""

    actors: int | None = Field(
        default=None,
        ge=1,
        description="number of actors; by default as many as fit now. On a cluster that is joined, "
        "those that don't fit yet start when nodes join",
    )
    address: str | None = Field(
        default=None,
        description="the Ray cluster to join, such as `auto`; by default one on this machine is "
        "started",
    )
    max_attempts: int = Field(
        default=3,
        ge=1,
        description="tries of a shard before it is given up and recorded in `_failed/`; a lost or "
        "preempted node costs none",
    )
    shard_timeout: float = Field(
        default=3600.0,
        gt=0,
        description="seconds for one shard; then its actor is killed, and that was one try",
    )
    force: bool = Field(
        default=False,
        description="go on though another run writes into this output; equal runs write equal "
        "files",
    )


PICTURE_SECONDS = 60.0

_DECODE_THREADS = 2
"""Decoder threads of an actor; two processes are slower than two threads."""


class RunConfig(ScoreConfig, MeasuresConfig, RayConfig):
    """A `score` run: what to score, where to write, and with what resources."""

    shards: Annotated[tuple[str, ...], Given.BY_PLACE] = Field(
        default=(),
        description="tars: paths, globs, {000..123} braces, folders, @list.txt; any fsspec URL",
    )
    output: str | None = Field(
        default=None, description="folder or URL for the annotations; not a folder of shards"
    )
    gpus_per_actor: float = Field(
        default=1.0, ge=0, description="GPUs of an actor; 0.5 shares a GPU, 0 scores on CPUs"
    )
    cpus_per_actor: float | None = Field(
        default=None,
        gt=0,
        description="CPU cores of an actor; by default, of an actor with a GPU, its share of its "
        "machine's, and 1 without",
    )
    decode_workers: int | None = Field(
        default=None,
        ge=0,
        description="processes that decode images, for each actor; by default the cores of an "
        "actor with a GPU, less two, if three or more are left. With 0 two threads of the actor "
        "decode",
    )
    picture_timeout: float = Field(
        default=PICTURE_SECONDS,
        gt=0,
        description="seconds of processor time for decoding one image; then it gets a `too_slow` "
        "row. Processes that decode are ended, threads can't be, and notice it afterwards",
    )
    stall_timeout: float = Field(
        default=600.0,
        gt=0,
        description="seconds in which an actor with a GPU has to read a sample or score an image; "
        "else it hangs, is started anew, and that was one try of its shard",
    )
    batch_size: int | None = Field(
        default=None,
        ge=1,
        description="crops in one call of the encoder, by default 256 on a GPU and 64 on a CPU; "
        "changes no score by more than 1e-6",
    )
    rescore: Annotated[tuple[Literal["errors", "changed"], ...], CommaSeparated] = Field(
        default=(),
        description="score shards again: `errors`, those that have rows with an error; `changed`, "
        "those whose tar has changed since. If the corpus has moved, `changed` and its new folder "
        "make that its place, and sizes decide",
    )
    overwrite: bool = Field(
        default=False,
        description="replace this output's annotations: our own, nothing else",
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
            raise ValueError("float16 is for GPUs; on CPUs take bfloat16 or float32")
        return self
