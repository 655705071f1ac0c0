"""Measure a model: `python -m jobs.measure_compact [--opinions SHARDS] [--photos SHARDS]`.

What comes out is what `pipeline/models/compact/README.md` says, as JSON on stdout. `--opinions`:
rank correlation with the `mos` in the samples' `.json`. `--photos`: whether the five levels of each
distortion rank in the right order, on the photographs that training held out.

    0 done   2 a mistake to mend
"""

from __future__ import annotations

import json
import sys
import tarfile
import time
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from scipy import ndimage

from jobs.exit_codes import USER_ERROR
from pipeline.config import ScoreConfig
from pipeline.errors import InputError, ShardsiftError
from pipeline.images import decode_rgb
from pipeline.records import RgbImage
from pipeline.scoring.scorer import Scorer
from pipeline.shards import read_samples
from pipeline.storage import expand, open_read
from pipeline.training.distortions import DISTORTIONS, LEVELS, luminance
from pipeline.training.photos import MAX_PIXELS, load_photos
from pipeline.training.validation import rank_correlation

CUES = ("quality", "q_sim", "q_mag", "w_sim")

_SPEED_IMAGES = 64
_SPEED_REPEATS = 5


def measure_opinions(scorer: Scorer, shards: str) -> dict[str, float]:
    """Spearman's correlation of the cues, and of a baseline, with the mean opinion scores."""
    opinions: list[float] = []
    sharpness: list[float] = []

    def images() -> Iterator[RgbImage]:
        for url in expand([shards]):
            known = _read_opinions(url)
            for sample in read_samples(url):
                if sample.image is None or sample.image.data is None or sample.key not in known:
                    raise InputError(f"{url}: {sample.key} has no image or no mos in its .json")
                image = decode_rgb(sample.image.data, MAX_PIXELS)
                opinions.append(known[sample.key])
                sharpness.append(laplacian_variance(image))
                yield image

    cues_C4 = _score(scorer, images())
    correlations = {
        f"srcc_{name}": rank_correlation(cues_C4[:, column], opinions)
        for column, name in enumerate(CUES[:3])
    }
    return {
        "images": len(opinions),
        **correlations,
        "srcc_laplacian_variance": rank_correlation(sharpness, opinions),
        **{f"mean_{name}": float(cues_C4[:, column].mean()) for column, name in enumerate(CUES)},
        "mean_w_mag": float(1.0 - cues_C4[:, 3].mean()),
    }


def measure_order(scorer: Scorer, shards: str, held_out: int) -> dict[str, Any]:
    """Share of series, and of neighbours within them, in the right order, for each distortion.

    A series is a photograph at the five levels of one distortion; it is right when each level
    scores less than the one before.
    """
    photos = [decode_rgb(data, MAX_PIXELS) for data in load_photos(shards, held_out).held_out]
    falls_KP4: list[NDArray[np.bool_]] = []
    for number, distort in enumerate(DISTORTIONS.values()):
        distorted = (
            distort(photo, level, np.random.default_rng([number, place]))
            for place, photo in enumerate(photos)
            for level in LEVELS
        )
        quality_P5 = _score(scorer, distorted)[:, 0].reshape(len(photos), len(LEVELS))
        falls_KP4.append(np.diff(quality_P5, axis=1) < 0)
    return {
        "photographs": len(photos),
        "series_in_order": float(np.mean([falls.all(axis=1) for falls in falls_KP4])),
        "neighbours_in_order": float(np.mean(falls_KP4)),
        "series_in_order_by_distortion": {
            name: round(float(falls.all(axis=1).mean()), 4)
            for name, falls in zip(DISTORTIONS, falls_KP4, strict=True)
        },
    }


def measure_speed(scorer: Scorer) -> float:
    """Crops a second, the median over repeats: cut, encoded and fused, of 512 px images."""
    images = np.random.default_rng(0).integers(0, 256, (_SPEED_IMAGES, 512, 512, 3), np.uint8)
    speeds: list[float] = []
    for _ in range(1 + _SPEED_REPEATS):
        begin = time.perf_counter()
        crops = sum(score.crops for score in scorer.score(images))
        speeds.append(crops / (time.perf_counter() - begin))
    return float(np.median(speeds[1:]))


def laplacian_variance(image: RgbImage) -> float:
    """The plain measure of sharpness that a model has to beat."""
    return float(ndimage.laplace(luminance(image.astype(np.float32))[:, :, 0]).var())


def _score(scorer: Scorer, images: Iterable[RgbImage]) -> NDArray[np.float64]:
    """Means over crops of quality, q_sim, q_mag and w_sim, shape (images, 4)."""
    return np.array(
        [
            [getattr(score, cue).mean(dtype=np.float64) for cue in CUES]
            for score in scorer.score(images)
        ]
    )


def _read_opinions(url: str) -> dict[str, float]:
    """Key to `mos`."""
    found: dict[str, float] = {}
    with open_read(url) as file, tarfile.open(fileobj=file) as tar:
        for member in tar:
            name = PurePosixPath(member.name)
            content = tar.extractfile(member) if name.suffix == ".json" else None
            if content is not None:
                fields = json.load(content)
                if "mos" in fields:
                    found[str(name.with_suffix(""))] = float(fields["mos"])
    return found


def measure(
    opinions: Annotated[
        str | None, typer.Option(help="Shards whose samples carry mean opinion scores.")
    ] = None,
    photos: Annotated[
        str | None, typer.Option(help="Shards that training had; its held-out part is used.")
    ] = None,
    held_out: Annotated[int, typer.Option(help="Photographs held out, as in training.")] = 150,
    model: Annotated[str, typer.Option(help="As for `shardsift score`.")] = "compact",
    pretrained: Annotated[str | None, typer.Option(help="As for `shardsift score`.")] = None,
    threads: Annotated[int, typer.Option(help="Threads of torch.")] = 2,
) -> None:
    """Measure a model against opinions, against synthetic distortions, and its speed."""
    torch.set_num_threads(threads)
    try:
        scorer = Scorer(ScoreConfig(model=model, pretrained=pretrained))
        figures: dict[str, Any] = {"crops_per_second": measure_speed(scorer)}
        if opinions:
            figures["opinions"] = measure_opinions(scorer, opinions)
        if photos:
            figures["order"] = measure_order(scorer, photos, held_out)
    except (ShardsiftError, OSError) as error:
        sys.stderr.write(f"measure_compact: {error}\n")
        sys.exit(USER_ERROR)
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(measure)
