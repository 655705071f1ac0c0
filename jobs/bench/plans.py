"""Cost and ranks of crop plans: `python -m jobs.bench plans SHARDS`.

Scores a sample of the images by every plan, and prints images a second and the rank correlation of
`quality` with that of plan `paper`. `--long-side` resizes the images first.

    0 done   2 a mistake to mend
"""

from __future__ import annotations

import sys
from time import perf_counter
from typing import Annotated, get_args

import numpy as np
import torch
import typer
from PIL import Image
from rich.console import Console

from jobs.bench.harness import table
from jobs.training.photos import MAX_PIXELS
from jobs.training.validation import rank_correlation
from shardsift.cli.console import USER_ERROR
from shardsift.config import CropPlan, ScoreConfig
from shardsift.errors import ShardsiftError
from shardsift.images.decode import decode_rgb
from shardsift.records import RgbImage
from shardsift.scoring.scorer import Scorer
from shardsift.shards.tar_samples import read_tar
from shardsift.storage.finding import expand


def measure(
    shards: Annotated[str, typer.Argument(help="Tars: path, glob, folder, any fsspec URL.")],
    images: Annotated[int, typer.Option(help="How many of the images.")] = 400,
    long_side: Annotated[int | None, typer.Option(help="Resize to this long side, in px.")] = None,
    model: Annotated[str, typer.Option(help="As for `shardsift score`.")] = "compact",
    pretrained: Annotated[str | None, typer.Option(help="As for `shardsift score`.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Measure every crop plan against `paper`."""
    try:
        pictures = [_resized(picture, long_side) for picture in read_pictures(shards, images)]
        speeds: dict[str, float] = {}
        scores: dict[str, list[float]] = {}
        for plan in get_args(CropPlan):
            scorer = Scorer(
                ScoreConfig(model=model, pretrained=pretrained, crops=plan), device=device
            )
            next(scorer.score(pictures[:1]))  # warm
            started = perf_counter()
            scores[plan] = [score.quality for score in scorer.score(pictures)]
            speeds[plan] = len(pictures) / (perf_counter() - started)
    except (ShardsiftError, OSError) as error:
        sys.stderr.write(f"measure_plans: {error}\n")
        sys.exit(USER_ERROR)
    rows = [
        [
            plan,
            f"{speed:,.1f}",
            f"{speed / speeds['paper']:.2f} x",
            f"{rank_correlation(scores[plan], scores['paper']):.3f}",
        ]
        for plan, speed in speeds.items()
    ]
    title = f"{len(pictures)} images, {torch.get_num_threads()} threads, {model}"
    Console().print(table(title, ("plan", "images/s", "speed", "SRCC with paper"), rows))


def read_pictures(shards: str, count: int) -> list[RgbImage]:
    """Decode the first images of some shards."""
    found: list[RgbImage] = []
    for url in expand([shards]):
        for sample in read_tar(url):
            if sample.image is not None and sample.image.data is not None:
                found.append(decode_rgb(sample.image.data, MAX_PIXELS))
            if len(found) == count:
                return found
    return found


def _resized(image: RgbImage, long_side: int | None) -> RgbImage:
    if long_side is None:
        return image
    factor = long_side / max(image.shape[:2])
    height, width = (round(factor * side) for side in image.shape[:2])
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))
