"""A shard from tar to Parquet with each addition, and decoding alone."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from pydantic import Field
from rich.console import Console
from rich.table import Table

from jobs.bench.corpus import MODEL, write_shard, write_weights
from jobs.bench.harness import Measurement, table
from shardsift.annotations.annotate import annotate
from shardsift.config import CropPlan, Dtype, RunConfig, ScoreConfig, load_config
from shardsift.images.decode import decode_rgb
from shardsift.images.hashes import Hashes, perceptual_hash
from shardsift.images.pool import make_decoder
from shardsift.measures import Measure
from shardsift.records import ShardTask
from shardsift.scoring.scorer import Scorer
from shardsift.scoring.standard_clip import StandardClip
from shardsift.shards.tar_samples import read_tar


class AdditionsConfig(Measurement):
    """On what, and how often."""

    device: str = Field(default="cpu", description="`cpu`, `cuda` or `cuda:N`")
    model: str = Field(default=MODEL, description="its weights are made up, unless it is `compact`")
    images: int = Field(default=400, ge=2, description="pictures of the shard")
    size: str = Field(default="512x384", description="of the pictures")
    laps: int = Field(default=5, ge=1, description="of each, in turn")
    crops: CropPlan = Field(default="paper", description="the crop plan")
    dtype: Dtype = Field(default="bfloat16", description="of the encoder")
    batch_size: int | None = Field(default=None, ge=1, description="crops")
    decode_workers: int = Field(default=0, ge=0, description="processes; with 0 two threads")
    clip: str = Field(
        default="compact", description="a standard CLIP; its weights are made up, as those above"
    )


_QUALITY = 75
_MAX_PIXELS = 1 << 30
_NOTHING = "score alone"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Cost of one addition: medians over laps, and the median of its share of the score alone."""

    addition: str
    images_per_second: float
    of_score: float


def measure(config: AdditionsConfig, console: Console) -> None:
    """Measure, print two tables, write `additions.json`."""
    width, height = map(int, config.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        shard = write_shard(Path(folder, "a.tar"), config.images, width, height, _QUALITY)
        weights = str(write_weights(Path(folder, "w.pt"))) if config.model == MODEL else None
        decoding = measure_decoding(shard)
        console.print(_decoding_table(decoding, config))
        scoring = ScoreConfig(
            model=config.model, pretrained=weights, crops=config.crops, dtype=config.dtype
        )
        costs = measure_additions(shard, scoring, config)
    console.print(_cost_table(costs, config))
    found = {"config": config.model_dump(mode="json"), "decoding_us": decoding}
    config.write("additions", found | {"additions": list(map(asdict, costs))}, console)


def measure_decoding(shard: Path) -> dict[str, float]:
    """Measure µs a picture in one thread: to decode it, and to hash it."""
    images = (sample.image for sample in read_tar(str(shard), shard.name))
    files = [image.data for image in images if image and image.data][:100]
    pictures = [decode_rgb(data, _MAX_PIXELS) for data in files]
    return {
        "decode": _microseconds(partial(decode_rgb, max_pixels=_MAX_PIXELS), files),
        "sha256": _microseconds(lambda data: hashlib.sha256(data).digest(), files),
        "phash": _microseconds(perceptual_hash, pictures),
    }


def _microseconds(work: Callable[[Any], object], items: Sequence[Any]) -> float:
    laps: list[float] = []
    for _ in range(5):
        began = perf_counter()
        for item in items:
            work(item)
        laps.append((perf_counter() - began) / len(items) * 1e6)
    return median(laps)


def measure_additions(shard: Path, scoring: ScoreConfig, config: AdditionsConfig) -> list[Cost]:
    """Measure laps of each addition in turn, the first of each left out."""
    asked = load_config(RunConfig, overrides={"attribute": ["clip-iqa"]}).asked()
    make = partial(Scorer, scoring, device=config.device, batch_size=config.batch_size)
    plain, asking, keeping = make(), make(attributes=asked), make(embeddings=True)
    clip = StandardClip(
        config.clip,
        pretrained=None if config.clip == "compact" else "random",
        dtype=config.dtype,
        embeddings=True,
        device=config.device,
    )
    additions: dict[str, tuple[Scorer, Sequence[Measure]]] = {
        _NOTHING: (plain, ()),
        f"{len(asked)} attributes": (asking, ()),
        "embeddings": (keeping, ()),
        f"CLIP {config.clip}, and its embeddings": (plain, (clip,)),
        "sha256": (plain, (Hashes(["sha256"]),)),
        "phash": (plain, (Hashes(["phash"]),)),
        "both hashes": (plain, (Hashes(["phash", "sha256"]),)),
    }
    laps: dict[str, list[float]] = {name: [] for name in additions}
    task = ShardTask(url=str(shard), shard=shard.name, annotation="a.parquet")
    output = str(shard.parent / "out")
    with ExitStack() as stack:
        decoders = {  # each pins the memory that its scorer copies from
            scorer: stack.enter_context(closing(make_decoder(config.decode_workers, scorer.pin)))
            for scorer in (plain, asking, keeping)
        }
        for _ in range(config.laps + 1):
            for name, (scorer, measures) in additions.items():
                report = annotate(task, scorer, output, decoders[scorer], measures=measures)
                assert report.seconds, "it was scored now"
                laps[name].append(report.rows / report.seconds)
    return [
        Cost(
            addition=name,
            images_per_second=median(speeds[1:]),
            of_score=median(
                own / alone for own, alone in zip(speeds[1:], laps[_NOTHING][1:], strict=True)
            ),
        )
        for name, speeds in laps.items()
    ]


def _decoding_table(decoding: dict[str, float], config: AdditionsConfig) -> Table:
    rows = [[name, f"{us:,.0f}", f"{us / decoding['decode']:.1%}"] for name, us in decoding.items()]
    return table(f"one thread, {config.size}", ["", "µs a picture", "of decoding"], rows)


def _cost_table(costs: list[Cost], config: AdditionsConfig) -> Table:
    title = f"tar to Parquet, {config.device}, {config.crops}, {config.dtype}, {config.laps} laps"
    rows = [[one.addition, f"{one.images_per_second:,.1f}", f"{one.of_score:.2%}"] for one in costs]
    return table(title, ["", "pictures/s", "of the score alone"], rows)
