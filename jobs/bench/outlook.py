"""Outlook for a corpus on a cluster: the real coordinator, simulated actors, virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from random import Random

from pydantic import Field

from jobs.bench.harness import Measurement
from jobs.bench.simulated import SimulatedFleet, Timing
from shardsift.engine.coordinator import Coordinator
from shardsift.records import FailedShard, ShardTask
from shardsift.storage.remote import BLOCKS_AHEAD, READ_BLOCK_BYTES


class ScaleConfig(Measurement):
    """Costs of stages, and numbers of GPUs that share a resource."""

    real: bool = Field(
        default=False, description="first hold it against one and two real actors on this machine"
    )
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


_UNEVEN = 0.1
"""Shards take up to so much more or less than the mean."""


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """Time and speed of a corpus on a number of GPUs.

    Attributes:
        efficiency: pictures per second and GPU, compared with a GPU that never waits.
        held_up_by: the resource that GPUs wait for.
    """

    gpus: int
    store_gb_s: float
    hours: float
    gpu_hours: float
    pictures_per_second: float
    efficiency: float
    held_up_by: str
    lost_nodes: int
    failed_shards: int


def simulate(config: ScaleConfig, gpus: int, store_gb_s: float) -> Outlook:
    """Run the coordinator with simulated actors, which only take their time."""

    def shard_seconds(random: Random, actors: int) -> float:
        slowest = max(picture_seconds(config, actors, store_gb_s).values())
        return config.shard_pictures * slowest * random.uniform(1 - _UNEVEN, 1 + _UNEVEN)

    losses = list(_losses(config, gpus))
    fleet = SimulatedFleet(
        losses=losses,
        overlaps=True,
        timing=Timing(arrival=0, loading=config.start_seconds, new_node=config.return_seconds),
        shard_seconds=shard_seconds,
        rows=config.shard_pictures,
    )
    shards = ceil(config.pictures / config.shard_pictures)
    coordinator = Coordinator(
        fleet, gpus, max_attempts=3, shard_timeout=3600, find_committed=lambda _: None
    )
    failed = sum(isinstance(one, FailedShard) for one in coordinator.run(_tasks(shards)))
    seconds = fleet.now()
    speed = config.pictures / seconds
    costs = picture_seconds(config, gpus, store_gb_s)
    return Outlook(
        gpus=gpus,
        store_gb_s=store_gb_s,
        hours=seconds / 3600,
        gpu_hours=gpus * seconds / 3600,
        pictures_per_second=speed,
        efficiency=speed * config.score_us / 1e6 / gpus,
        held_up_by=max(costs, key=lambda stage: costs[stage]),
        lost_nodes=sum(when < seconds for when, _ in losses),
        failed_shards=failed,
    )


def picture_seconds(config: ScaleConfig, actors: int, store_gb_s: float) -> dict[str, float]:
    """Return what each stage of an actor takes for a picture if so many actors work.

    Stages overlap, so the slowest decides. Networks are shared evenly.
    """
    gigabytes = config.picture_bytes / 1e9
    neighbours = min(actors, config.gpus_per_node)
    return {
        "GPU": config.score_us / 1e6,
        "process": config.process_us / 1e6,
        "decoding": config.decode_us / 1e6 / config.decoders,
        "cores": config.cpu_us / 1e6 * neighbours / config.cores_per_node,
        "node's network": gigabytes * neighbours / config.node_gb_s,
        "store": gigabytes * actors / store_gb_s,
    }


def requests_for(config: ScaleConfig) -> int:
    """Count the requests to the store for the whole corpus."""
    shard_bytes = config.shard_pictures * config.picture_bytes
    return ceil(config.pictures / config.shard_pictures) * requests_for_shard(shard_bytes)


def requests_for_shard(size: int) -> int:
    """Count the requests to the store for a shard of this size, and for its annotation.

    Each block is fetched; the shard is looked up, and looked up again by each connection that
    reads of it; the annotation is committed.
    """
    blocks = ceil(size / READ_BLOCK_BYTES)
    return blocks + min(blocks, BLOCKS_AHEAD) + 2


def _tasks(shards: int) -> Iterator[ShardTask]:
    for number in range(shards):
        name = f"{number:07}"
        yield ShardTask(url=f"/{name}.tar", shard=f"{name}.tar", annotation=f"{name}.parquet")


def _losses(config: ScaleConfig, gpus: int) -> Iterator[tuple[float, int]]:
    """Yield when which node is lost: each once at most."""
    random = Random(1)
    for node in range(ceil(gpus / config.gpus_per_node)):
        yield random.expovariate(1 / (config.node_hours * 3600)), node
