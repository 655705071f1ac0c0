"""Tables of the encoder alone, and of the whole pipeline from tar to Parquet.

Shapes in names: N crops, S = 224.
"""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from pydantic import Field
from rich.console import Console
from rich.table import Table

from jobs.bench.contestants import count_flops, measure_peak
from jobs.bench.corpus import MODEL, write_shard, write_weights
from jobs.bench.gpu_lap import Lap, run_lap, run_together
from jobs.bench.harness import Measurement, table, widen
from shardsift.config import CropPlan, Dtype, RunConfig, ScoreConfig
from shardsift.errors import InputError
from shardsift.scoring.clip import load_clip
from shardsift.scoring.crops import CROP_SIZE, count_crops
from shardsift.scoring.encoder import Encoder
from shardsift.scoring.scorer import Scorer


class GpuConfig(Measurement):
    """On what, and for how long."""

    device: str = Field(default="cuda", description="`cuda`, `cuda:N`, or `cpu` to try the script")
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


_QUALITY = 75
_WARM_IMAGES = 2_000
_LAUNCHED = 4
"""Batches between two looks at the clock, which the GPU has ended by then."""


@dataclass(frozen=True, kw_only=True)
class EncoderSpeed:
    """The encoder alone, on prepared crops."""

    dtype: Dtype
    batch_size: int
    crops_per_second: float
    share_of_peak: float
    """Share of the operations a second of a large matrix product."""
    gigabytes: float
    """Device memory of a scorer, without CUDA's own for each process."""


@dataclass(frozen=True, kw_only=True)
class ShardSpeed:
    """From tar to Parquet, by actors that share the device."""

    size: str
    plan: CropPlan
    actors: int
    images_per_second: float
    """Images a second of all actors together."""
    share_of_encoder: float
    """Crops a second, as a share of those of the encoder alone."""
    feeder: float
    """µs of CPU a picture, of the thread of an actor that feeds the GPU."""
    busy: dict[str, float]
    """Share of the time that each stage was at work; of decoding, that each worker was."""


def measure(config: GpuConfig, console: Console) -> None:
    """Measure, print two tables, write `gpu.json`. Raises InputError if the device isn't there."""
    if config.device != "cpu" and not torch.cuda.is_available():
        raise InputError(f"--device {config.device}: this torch ({torch.__version__}) sees no GPU")
    torch.set_num_threads(1)
    console.print(" · ".join(_machine(config).values()), soft_wrap=True)
    widen(console)
    found: dict[str, Any] = {"machine": _machine(config), "config": config.model_dump(mode="json")}
    encoders: list[EncoderSpeed] = []
    shards: list[ShardSpeed] = []
    with tempfile.TemporaryDirectory() as folder:
        weights = write_weights(Path(folder, "weights.pt"))
        base = ScoreConfig(model=MODEL, pretrained=str(weights))
        for speed in _measure_encoder(base, config):
            encoders.append(speed)
            config.save("gpu", found | {"encoder": list(map(asdict, encoders))})
        console.print(_encoder_table(encoders))
        for speed in _measure_shards(base, config, Path(folder), encoders):
            console.print(
                f"{speed.size} {speed.plan} by {speed.actors}: "
                f"{speed.images_per_second:,.0f} pictures/s"
            )
            shards.append(speed)
            found |= {"encoder": list(map(asdict, encoders)), "shards": list(map(asdict, shards))}
            config.save("gpu", found)
    console.print(_shard_table(shards, config))
    config.write("gpu", found, console)


def _measure_encoder(base: ScoreConfig, config: GpuConfig) -> Iterator[EncoderSpeed]:
    """Measure the encoder alone, by dtype and batch size."""
    flops = count_flops(Encoder(base, "cpu"), torch.zeros(1, 3, CROP_SIZE, CROP_SIZE))
    model = load_clip(base)
    for dtype in config.dtypes:
        scoring = base.model_copy(update={"dtype": dtype, "crops": "global"})
        peak = measure_peak(torch.device(config.device).type, dtype)
        for batch_size in config.batch_sizes:
            before = _memory_taken(config)
            scorer = Scorer(scoring, device=config.device, batch_size=batch_size, loaded=model)
            taken = _memory_taken(config)
            size = (batch_size, CROP_SIZE, CROP_SIZE, 3)
            crops_NSS3 = torch.randint(0, 256, size, dtype=torch.uint8).to(config.device)
            crops_N3SS = crops_NSS3.float().permute(0, 3, 1, 2)
            speed = batch_size * _rate(partial(scorer.encoder.encode, crops_N3SS), config)
            yield EncoderSpeed(
                dtype=dtype,
                batch_size=batch_size,
                crops_per_second=speed,
                share_of_peak=speed * flops / peak,
                gigabytes=taken - before,
            )
            del scorer


def _memory_taken(config: GpuConfig) -> float:
    """Return the GB of the device that this process has taken and not given back."""
    if config.device == "cpu":
        return 0.0
    torch.cuda.empty_cache()
    return torch.cuda.memory_reserved(config.device) / 1e9


def _rate(work: Callable[[], object], config: GpuConfig) -> float:
    """Return how often a second a GPU does something."""

    def finish() -> None:
        if config.device != "cpu":
            torch.cuda.synchronize(config.device)

    work()  # warm
    finish()
    done, began = 0, perf_counter()
    while (seconds := perf_counter() - began) < config.seconds or not done:
        for _ in range(_LAUNCHED):
            work()
        finish()
        done += _LAUNCHED
    return done / seconds


def _measure_shards(
    base: ScoreConfig, config: GpuConfig, folder: Path, encoders: list[EncoderSpeed]
) -> Iterator[ShardSpeed]:
    """Measure from tar to Parquet, by size, plan and actors, with the first dtype, largest batch.

    Of several actors each has its share of the processes that decode.
    """
    dtype, batch_size = config.dtypes[0], config.batch_sizes[-1]
    alone = next(
        speed.crops_per_second
        for speed in encoders
        if speed.dtype == dtype and speed.batch_size == batch_size
    )
    for size in config.sizes:
        width, height = map(int, size.split("x"))
        images = min(config.images, config.megapixels * 1_000_000 // (width * height))
        few = write_shard(folder / "few.tar", min(images, _WARM_IMAGES), width, height, _QUALITY)
        shard = write_shard(folder / "many.tar", images, width, height, _QUALITY)
        for plan, actors in product(config.plans, config.actors):
            lap = Lap(
                scoring=base.model_copy(update={"dtype": dtype, "crops": plan}),
                device=config.device,
                batch_size=batch_size,
                decode_workers=config.decode_workers // actors,
                warm_up=few,
                shard=shard,
            )
            speeds = run_together([lap] * actors) if actors > 1 else [run_lap(lap)]
            speed = sum(speed.images for speed in speeds) / max(speed.seconds for speed in speeds)
            yield ShardSpeed(
                size=size,
                plan=plan,
                actors=actors,
                images_per_second=speed,
                share_of_encoder=speed * count_crops(height, width, plan) / alone,
                feeder=speeds[0].feeder,
                busy=speeds[0].busy,
            )


def _encoder_table(speeds: list[EncoderSpeed]) -> Table:
    """Tabulate the encoder alone."""
    return table(
        "RN50 alone",
        ("dtype", "batch", "crops/s", "of peak", "GB"),
        [
            [
                speed.dtype,
                str(speed.batch_size),
                f"{speed.crops_per_second:,.0f}",
                f"{speed.share_of_peak:.0%}",
                f"{speed.gigabytes:.1f}",
            ]
            for speed in speeds
        ],
        caption="of peak: a crop's operations, none of them merged, in those of a matrix product",
    )


def _shard_table(speeds: list[ShardSpeed], config: GpuConfig) -> Table:
    """Tabulate tar to Parquet, with the stage that holds up the others."""
    settings = f"{config.dtypes[0]}, batches of {config.batch_sizes[-1]}"
    rows: list[list[str]] = []
    for speed in speeds:
        slowest = max(speed.busy, key=lambda stage, busy=speed.busy: busy[stage])
        rows.append(
            [
                *(speed.size, speed.plan, str(speed.actors)),
                f"{speed.images_per_second:,.0f}",
                f"{speed.share_of_encoder:.0%}",
                f"{speed.feeder:,.0f}",
                f"{slowest} ({speed.busy[slowest]:.0%} busy)",
            ]
        )
    return table(
        f"tar to Parquet, {settings}, {config.decode_workers} processes decode",
        ("pictures", "plan", "actors", "pictures/s", "of encoder", "feeder µs", "held up by"),
        rows,
        names=(0, 1, 6),
        caption="score: the GPU, and the thread that feeds it for so many µs a picture",
    )


def _machine(config: GpuConfig) -> dict[str, Any]:
    device = "no GPU"
    if config.device != "cpu":
        device = torch.cuda.get_device_name(config.device)
    return {
        "device": device,
        "cores": f"{os.cpu_count()} cores",
        "python": f"Python {platform.python_version()}",
        "torch": f"torch {torch.__version__}",
    }
