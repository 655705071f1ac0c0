"""What the measurement of attributes, embeddings and hashes may be asked for."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from jobs.bench.corpus import MODEL
from shardsift.config import Config, CropPlan, Dtype


class CostConfig(Config):
    """On what, and how often."""

    device: str = Field(default="cpu", description="`cpu`, `cuda` or `cuda:N`")
    output: Path = Field(default=Path("bench"), description="folder for `extras.json`")
    model: str = Field(default=MODEL, description="its weights are made up, unless it is `compact`")
    images: int = Field(default=400, ge=2, description="pictures of the shard")
    size: str = Field(default="512x384", description="of the pictures")
    laps: int = Field(default=5, ge=1, description="of each, in turn")
    crops: CropPlan = Field(default="paper", description="the crop plan")
    dtype: Dtype = Field(default="bfloat16", description="of the encoder")
    batch_size: int | None = Field(default=None, ge=1, description="crops")
    decode_workers: int = Field(default=0, ge=0, description="processes; with 0 two threads")
