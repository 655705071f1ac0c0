"""What the measurement of a GPU may be asked for."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from shardsift.config import Config, CropPlan, Dtype, RunConfig


class GpuConfig(Config):
    """On what, and for how long."""

    device: str = Field(default="cuda", description="`cuda`, `cuda:N`, or `cpu` to try the script")
    output: Path = Field(default=Path("bench"), description="folder for `gpu.json`")
    images: int = Field(default=20_000, ge=1, description="pictures of a shard, at most")
    megapixels: int = Field(default=4_000, ge=1, description="of a shard, at most")
    seconds: float = Field(default=1.0, gt=0, description="of the encoder alone, each time")
    sizes: tuple[str, ...] = Field(
        default=("256x256", "512x384", "1024x768"), description="of the pictures; may be repeated"
    )
    plans: tuple[CropPlan, ...] = Field(
        default=("paper", "global"), description="crop plans; may be repeated"
    )
    actors: tuple[int, ...] = Field(
        default=(1, 2), description="processes that share the GPU; may be repeated"
    )
    dtypes: tuple[Dtype, ...] = Field(
        default=("bfloat16", "float16", "float32"),
        description="of the encoder alone; from tar to Parquet the first one; may be repeated",
    )
    batch_sizes: tuple[int, ...] = Field(
        default=(64, 256), description="crops; from tar to Parquet the last one; may be repeated"
    )
    decode_workers: int = Field(
        default=RunConfig(cpus_per_actor=os.cpu_count()).decode_workers_of_actor(),
        ge=0,
        description="processes that decode, as an actor with all cores has; with 0 two threads",
    )
