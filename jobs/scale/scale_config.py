"""What a simulated cluster and its corpus are made of.

The defaults are what `make gpu` measured with RN50, plan `paper`, on 512x384 JPEGs (an H200 with 16
cores), and guesses of what a cluster has besides, which say so.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from shardsift.config import Config


class ScaleConfig(Config):
    """Stage costs, and how many GPUs share what."""

    real: bool = Field(
        default=False, description="first hold it against one and two real actors on this machine"
    )
    output: Path = Field(default=Path("bench"), description="folder for `scale.json` and pictures")
    gpus: tuple[int, ...] = Field(
        default=(8, 16, 32, 64, 128, 256, 512), description="GPUs; may be repeated"
    )
    pictures: int = Field(default=1_000_000_000, ge=1, description="of the corpus")
    shard_pictures: int = Field(default=10_000, ge=1, description="of a shard")
    picture_bytes: int = Field(default=44_000, ge=1, description="of an image file")
    score_us: float = Field(
        default=286.0, gt=0, description="µs of a GPU and the thread that feeds it, a picture"
    )
    process_us: float = Field(
        default=165.0, gt=0, description="µs in which the feeding process can do nothing else"
    )
    decode_us: float = Field(default=1_420.0, gt=0, description="µs of a core, to decode")
    decoders: int = Field(default=14, ge=1, description="processes that decode, of an actor")
    cpu_us: float = Field(default=1_700.0, gt=0, description="µs of CPU in all, a picture")
    cores_per_node: int = Field(default=128, ge=1, description="cores, of all actors of a node")
    gpus_per_node: int = Field(default=8, ge=1, description="GPUs that share cores and network")
    node_gb_s: float = Field(
        default=3.0, gt=0, description="GB/s into a node, all its GPUs together (a guess)"
    )
    store_gb_s: tuple[float, ...] = Field(
        default=(10.0, 40.0, 160.0),
        description="GB/s that the object store gives at most (guesses); may be repeated",
    )
    start_seconds: float = Field(
        default=30.0, ge=0, description="from asking for an actor to its first picture"
    )
    node_hours: float = Field(
        default=500.0, gt=0, description="between two losses of one node, on average (a guess)"
    )
    return_seconds: float = Field(
        default=600.0, ge=0, description="until a lost node is replaced (a guess)"
    )
