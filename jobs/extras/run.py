"""A shard from tar to Parquet, with one addition or another, and decoding alone."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from jobs.bench.corpus import MODEL, write_shard, write_weights
from jobs.extras.extras_config import CostConfig
from shardsift.annotations.annotate import annotate
from shardsift.config import HashName, RunConfig, ScoreConfig, load_config
from shardsift.images.decode import decode_rgb
from shardsift.images.hashes import Hashes, perceptual_hash
from shardsift.images.pool import make_decoder
from shardsift.records import ShardTask
from shardsift.scoring.scorer import Scorer
from shardsift.shards.samples import read_samples

_QUALITY = 75
_MAX_PIXELS = 1 << 30
_NOTHING = "score alone"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one addition: medians over laps, and the median of each lap's share of the score alone."""

    addition: str
    images_per_second: float
    of_score: float


def run_extras(config: CostConfig, console: Console) -> None:
    """Measure, print two tables, write `extras.json`."""
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
    config.output.mkdir(parents=True, exist_ok=True)
    found = {"config": config.model_dump(mode="json"), "decoding_us": decoding}
    path = config.output / "extras.json"
    path.write_text(json.dumps(found | {"additions": list(map(asdict, costs))}, indent=2) + "\n")
    console.print(f"figures: {path}", soft_wrap=True)


def measure_decoding(shard: Path) -> dict[str, float]:
    """Measure µs a picture in one thread: to decode it, and to hash it."""
    images = (sample.image for sample in read_samples(str(shard), shard.name))
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


def measure_additions(shard: Path, scoring: ScoreConfig, config: CostConfig) -> list[Cost]:
    """Measure laps of each addition in turn, the first of each left out."""
    asked = load_config(RunConfig, overrides={"attribute": ["clip-iqa"]}).asked()
    make = partial(Scorer, scoring, device=config.device, batch_size=config.batch_size)
    plain, asking, keeping = make(), make(attributes=asked), make(embeddings=True)
    additions: dict[str, tuple[Scorer, tuple[HashName, ...]]] = {
        _NOTHING: (plain, ()),
        f"{len(asked)} attributes": (asking, ()),
        "embeddings": (keeping, ()),
        "sha256": (plain, ("sha256",)),
        "phash": (plain, ("phash",)),
        "both hashes": (plain, ("phash", "sha256")),
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
            for name, (scorer, hashes) in additions.items():
                measures = [Hashes(hashes)] if hashes else []
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


def _decoding_table(decoding: dict[str, float], config: CostConfig) -> Table:
    table = Table(title=f"one thread, {config.size}", title_justify="left", box=box.SIMPLE)
    for column in ("", "µs a picture", "of decoding"):
        table.add_column(column, justify="right" if column else "left")
    for name, microseconds in decoding.items():
        table.add_row(name, f"{microseconds:,.0f}", f"{microseconds / decoding['decode']:.1%}")
    return table


def _cost_table(costs: list[Cost], config: CostConfig) -> Table:
    title = f"tar to Parquet, {config.device}, {config.crops}, {config.dtype}, {config.laps} laps"
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    for column in ("", "pictures/s", "of the score alone"):
        table.add_column(column, justify="right" if column else "left")
    for cost in costs:
        table.add_row(cost.addition, f"{cost.images_per_second:,.1f}", f"{cost.of_score:.2%}")
    return table
