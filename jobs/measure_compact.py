"""Measure a model: `python -m jobs.measure_compact --photos SHARDS`.

What comes out, as JSON on stdout, stands in `pipeline/models/compact/README.md`: crops a second
beside RN50's, and whether the five levels of each distortion rank in the right order on the
photographs that training held out. `shardsift evaluate` compares with opinions.

    0 done   2 a mistake to mend
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from jobs.console import start_console, tracking
from jobs.exit_codes import USER_ERROR
from pipeline.config import ScoreConfig
from pipeline.errors import ShardsiftError
from pipeline.images import decode_rgb
from pipeline.overlap import Track
from pipeline.records import RgbImage
from pipeline.scoring.encoder import RANDOM_WEIGHTS
from pipeline.scoring.scorer import Scorer
from pipeline.training.distortions import DISTORTIONS, LEVELS, Distortion
from pipeline.training.photos import MAX_PIXELS, load_photos
from pipeline.training.unseen import UNSEEN

_SPEED_IMAGES = 16
_SPEED_REPEATS = 5


def measure_order(
    scorer: Scorer, photos: list[RgbImage], distortions: Mapping[str, Distortion], track: Track
) -> dict[str, Any]:
    """Share of series, and of neighbours within them, in the right order, and mean weights.

    A series is a photograph at the five levels of one distortion; it is right when each level
    scores less than the one before.
    """
    falls_KP4: list[NDArray[np.bool_]] = []
    weights: list[NDArray[np.float64]] = []
    for number, distort in enumerate(track(distortions.values(), "distortions", len(distortions))):
        distorted = (
            distort(photo, level, np.random.default_rng([number, place]))
            for place, photo in enumerate(photos)
            for level in LEVELS
        )
        scores_N2 = _score(scorer, distorted)
        quality_P5 = scores_N2[:, 0].reshape(len(photos), len(LEVELS))
        falls_KP4.append(np.diff(quality_P5, axis=1) < 0)
        weights.append(scores_N2[:, 1])
    shares = [float(falls.all(axis=1).mean()) for falls in falls_KP4]
    return {
        "photographs": len(photos),
        "series_in_order": float(np.mean(shares)),
        "neighbours_in_order": float(np.mean(falls_KP4)),
        "mean_w_sim": float(np.mean(weights)),
        "series_in_order_by_distortion": dict(zip(distortions, shares, strict=True)),
    }


def measure_speeds(scorers: Mapping[str, Scorer]) -> dict[str, float]:
    """Crops a second of each, the median over laps in turn: 512 px images cut, encoded, fused."""
    images = np.random.default_rng(0).integers(0, 256, (_SPEED_IMAGES, 512, 512, 3), np.uint8)
    speeds: dict[str, list[float]] = {name: [] for name in scorers}
    for _ in range(1 + _SPEED_REPEATS):
        for name, scorer in scorers.items():
            begin = time.perf_counter()
            crops = sum(score.crops for score in scorer.score(images))
            speeds[name].append(crops / (time.perf_counter() - begin))
    return {name: float(np.median(laps[1:])) for name, laps in speeds.items()}


def _score(scorer: Scorer, images: Iterable[RgbImage]) -> NDArray[np.float64]:
    """Means over crops of quality and w_sim, shape (images, 2)."""
    scores = scorer.score(images)
    return np.array([[score.quality.mean(), score.w_sim.mean()] for score in scores], np.float64)


def measure(
    photos: Annotated[
        str | None, typer.Option(help="Shards that training had; its held-out part is used.")
    ] = None,
    held_out: Annotated[int, typer.Option(help="Photographs held out, as in training.")] = 150,
    limit: Annotated[int | None, typer.Option(help="Use the first of these only.")] = None,
    model: Annotated[str, typer.Option(help="As for `shardsift score`.")] = "compact",
    pretrained: Annotated[str | None, typer.Option(help="As for `shardsift score`.")] = None,
    threads: Annotated[int, typer.Option(help="Threads of torch.")] = 2,
) -> None:
    """Measure a model's speed beside RN50's, and its order of synthetic distortions."""
    torch.set_num_threads(threads)
    try:
        scorer = Scorer(ScoreConfig(model=model, pretrained=pretrained))
        reference = Scorer(ScoreConfig(model="RN50", pretrained=RANDOM_WEIGHTS))
        figures: dict[str, Any] = {
            "crops_per_second": measure_speeds({model: scorer, "RN50": reference})
        }
        if photos:
            files = load_photos(photos, held_out).held_out[:limit]
            pictures = [decode_rgb(data, MAX_PIXELS) for data in files]
            with tracking(start_console()) as track:
                figures["order"] = measure_order(scorer, pictures, DISTORTIONS, track)
                figures["order_of_unseen"] = measure_order(scorer, pictures, UNSEEN, track)
    except (ShardsiftError, OSError) as error:
        sys.stderr.write(f"measure_compact: {error}\n")
        sys.exit(USER_ERROR)
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(measure)
