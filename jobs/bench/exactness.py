"""Exactness of scores: `python -m jobs.bench exactness SHARDS`.

Scores a sample of the images again with other batches, order, threads and dtypes, and the shards
with other numbers of actors; prints the differences of `quality`.

    0 done   2 a mistake to mend
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console

from jobs.bench.harness import table
from jobs.bench.plans import read_pictures
from shardsift.cli.console import USER_ERROR, PlainConsole
from shardsift.config import RunConfig, ScoreConfig
from shardsift.errors import ShardsiftError
from shardsift.records import RgbImage
from shardsift.runs.score_run import score
from shardsift.scoring.scorer import Scorer

Qualities = NDArray[np.float32]

_BATCHES = (1, 7, 16, 48, 256)


def measure(
    shards: Annotated[str, typer.Argument(help="Tars: path, glob, folder, any fsspec URL.")],
    images: Annotated[int, typer.Option(help="How many of the images.")] = 100,
    model: Annotated[str, typer.Option(help="As for `shardsift score`.")] = "compact",
    pretrained: Annotated[str | None, typer.Option(help="As for `shardsift score`.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    actors: Annotated[bool, typer.Option(help="Also score the shards whole, on Ray.")] = True,
) -> None:
    """Measure differences to the scores of one process in float32."""
    config = ScoreConfig(model=model, pretrained=pretrained)
    try:
        pictures = read_pictures(shards, images)
        found = _in_memory(config, pictures, device)
        if actors:
            found |= _on_ray(config, shards, device)
    except (ShardsiftError, OSError) as error:
        sys.stderr.write(f"measure_exactness: {error}\n")
        sys.exit(USER_ERROR)
    title = f"{len(pictures)} images, {torch.get_num_threads()} threads, {model}, {device}"
    columns = ("", "images", "largest difference", "rms", "equal to the bit")
    Console().print(table(title, columns, [_row(name, *both) for name, both in found.items()]))


def _in_memory(
    config: ScoreConfig, pictures: list[RgbImage], device: str
) -> dict[str, tuple[Qualities, Qualities]]:
    """Score in float32, and under another condition, by its name."""

    def qualities(
        images: list[RgbImage], dtype: str = "float32", batch_size: int = 64
    ) -> Qualities:
        changed = config.model_copy(update={"dtype": dtype})
        scorer = Scorer(changed, device=device, batch_size=batch_size)
        return np.array([one.quality for one in scorer.score(images)], np.float32)

    usual = qualities(pictures)
    found = {
        "each image by itself": np.concatenate([qualities([picture]) for picture in pictures[:20]]),
        "reversed order": qualities(pictures[::-1])[::-1],
        **{f"batch_size {size}": qualities(pictures, batch_size=size) for size in _BATCHES},
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found["one thread"] = qualities(pictures)
    torch.set_num_threads(threads)
    found["bfloat16"] = qualities(pictures, "bfloat16")
    if device != "cpu":
        found["float16"] = qualities(pictures, "float16")
    return {name: (usual[: len(values)], values) for name, values in found.items()}


def _on_ray(
    config: ScoreConfig, shards: str, device: str
) -> dict[str, tuple[Qualities, Qualities]]:
    """Score by one actor, and by two."""

    def annotate(actors: int) -> Qualities:
        resources: dict[str, Any] = {"actors": actors}
        resources |= {"gpus_per_actor": 1 / actors if device == "cuda" else 0}
        with tempfile.TemporaryDirectory() as folder:
            places = {"shards": [shards], "output": str(Path(folder) / "scores")}
            run = RunConfig.model_validate(config.model_dump() | resources | places)
            score(run, PlainConsole(file=io.StringIO()))
            table = pq.read_table(places["output"], columns=["shard", "index", "quality"])
        shard_N = table["shard"].cast(pa.string()).to_numpy()
        quality_N = table["quality"].to_numpy()[np.lexsort((table["index"].to_numpy(), shard_N))]
        return quality_N[np.isfinite(quality_N)]

    return {"two actors for one": (annotate(1), annotate(2))}


def _row(name: str, usual: Qualities, other: Qualities) -> list[str]:
    difference = np.abs(usual.astype(float) - other)
    rms = float(np.sqrt((difference**2).mean()))
    equal = f"{(usual == other).mean():.0%}"
    return [name, f"{len(usual):,}", f"{difference.max():.1e}", f"{rms:.1e}", equal]
