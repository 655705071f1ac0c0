"""The encoder alone, then everything from tar to Parquet, and their tables.

Shapes in names: N crops, S = 224.
"""

from __future__ import annotations

import json
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
from rich import box
from rich.console import Console
from rich.table import Table

from jobs.bench.corpus import MODEL, write_shard, write_weights
from jobs.bench.peak import count_flops, measure_peak
from jobs.gpu.gpu_config import GpuConfig
from jobs.gpu.lap import Lap, run_lap, run_together
from shardsift.config import CropPlan, Dtype, ScoreConfig
from shardsift.errors import InputError
from shardsift.scoring.clip import load_clip
from shardsift.scoring.crops import CROP_SIZE, count_crops
from shardsift.scoring.encoder import Encoder
from shardsift.scoring.scorer import Scorer

_QUALITY = 75
_TABLE_WIDTH = 110
_WARM_IMAGES = 2_000
_LAUNCHED = 4
"""Batches between two looks at the clock, which the GPU has ended by then."""


@dataclass(frozen=True, kw_only=True)
class EncoderSpeed:
    """The encoder alone, on crops that are there."""

    dtype: Dtype
    batch_size: int
    crops_per_second: float
    share_of_peak: float
    """Of the operations a second of a large matrix product."""
    gigabytes: float
    """That a scorer takes of the device's memory, without what CUDA takes for each process."""


@dataclass(frozen=True, kw_only=True)
class ShardSpeed:
    """From tar to Parquet, by actors that share the device."""

    size: str
    plan: CropPlan
    actors: int
    images_per_second: float
    """Of all actors."""
    share_of_encoder: float
    """Their crops a second, in those of the encoder alone."""
    feeder: float
    """µs of CPU a picture, of the thread of an actor that feeds the GPU."""
    busy: dict[str, float]
    """Share of the time that each stage was at work; of decoding, that each worker was."""


def run_gpu(config: GpuConfig, console: Console) -> None:
    """Measure, print two tables, write `gpu.json`. Raises InputError if the device isn't there."""
    if config.device != "cpu" and not torch.cuda.is_available():
        raise InputError(f"--device {config.device}: this torch ({torch.__version__}) sees no GPU")
    torch.set_num_threads(1)
    console.print(" · ".join(_machine(config).values()), soft_wrap=True)
    if not console.is_terminal:
        console.width = _TABLE_WIDTH
    config.output.mkdir(parents=True, exist_ok=True)
    path = config.output / "gpu.json"
    found: dict[str, Any] = {"machine": _machine(config), "config": config.model_dump(mode="json")}
    encoders: list[EncoderSpeed] = []
    shards: list[ShardSpeed] = []
    with tempfile.TemporaryDirectory() as folder:
        weights = write_weights(Path(folder, "weights.pt"))
        base = ScoreConfig(model=MODEL, pretrained=str(weights))
        for speed in measure_encoder(base, config):
            encoders.append(speed)
            _write(path, found | {"encoder": list(map(asdict, encoders))})
        console.print(encoder_table(encoders))
        for speed in _measure_shards(base, config, Path(folder), encoders):
            console.print(
                f"{speed.size} {speed.plan} by {speed.actors}: "
                f"{speed.images_per_second:,.0f} pictures/s"
            )
            shards.append(speed)
            both = {"encoder": list(map(asdict, encoders)), "shards": list(map(asdict, shards))}
            _write(path, found | both)
    console.print(shard_table(shards, config))
    console.print(f"figures: {path}", soft_wrap=True)


def measure_encoder(base: ScoreConfig, config: GpuConfig) -> Iterator[EncoderSpeed]:
    """Measure the encoder alone, by dtype and size of its batch."""
    flops = count_flops(Encoder(base, "cpu"), torch.zeros(1, 3, CROP_SIZE, CROP_SIZE))
    model = load_clip(base)
    for dtype in config.dtypes:
        scoring = base.model_copy(update={"dtype": dtype, "crops": "global"})
        peak = measure_peak(torch.device(config.device).type, dtype)
        for batch_size in config.batch_sizes:
            before = _memory_taken(config)
            scorer = Scorer(scoring, device=config.device, batch_size=batch_size, model=model)
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


def _write(path: Path, found: dict[str, Any]) -> None:
    path.write_text(json.dumps(found, indent=2) + "\n")


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


def encoder_table(speeds: list[EncoderSpeed]) -> Table:
    """Tabulate the encoder alone."""
    table = Table(title="RN50 alone", title_justify="left", box=box.SIMPLE)
    for number, column in enumerate(("dtype", "batch", "crops/s", "of peak", "GB")):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for speed in speeds:
        table.add_row(
            speed.dtype,
            str(speed.batch_size),
            f"{speed.crops_per_second:,.0f}",
            f"{speed.share_of_peak:.0%}",
            f"{speed.gigabytes:.1f}",
        )
    table.caption = (
        "of peak: a crop's operations, none of them merged, in those of a matrix product"
    )
    table.caption_justify = "left"
    return table


def shard_table(speeds: list[ShardSpeed], config: GpuConfig) -> Table:
    """Tabulate tar to Parquet, with the stage that holds up the others."""
    settings = f"{config.dtypes[0]}, batches of {config.batch_sizes[-1]}"
    title = f"tar to Parquet, {settings}, {config.decode_workers} processes decode"
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    columns = ("pictures", "plan", "actors", "pictures/s", "of encoder", "feeder µs", "held up by")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if 1 < number < 6 else "left", no_wrap=True)
    for speed in speeds:
        slowest = max(speed.busy, key=lambda stage, busy=speed.busy: busy[stage])
        table.add_row(
            speed.size,
            speed.plan,
            str(speed.actors),
            f"{speed.images_per_second:,.0f}",
            f"{speed.share_of_encoder:.0%}",
            f"{speed.feeder:,.0f}",
            f"{slowest} ({speed.busy[slowest]:.0%} busy)",
        )
    table.caption = "score: the GPU, and the thread that feeds it for so many µs a picture"
    table.caption_justify = "left"
    return table


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
