"""Measure a model: `python -m jobs.training.measure --photos SHARDS`.

What comes out, as JSON on stdout, stands in the model's README: crops a second beside RN50's, and
whether the five levels of each distortion rank in the right order on the
photographs that training held out and was not ended by. `shardsift evaluate` is for opinions.

    0 done   2 a mistake to mend
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import torch
import typer

from jobs.training.distortions import DISTORTIONS
from jobs.training.photos import MAX_PIXELS, load_photos
from jobs.training.trainer import TrainConfig
from jobs.training.unseen import UNSEEN
from jobs.training.validation import Validation, validate
from shardsift.cli.console import USER_ERROR, start_console
from shardsift.config import ScoreConfig
from shardsift.errors import ShardsiftError
from shardsift.images.decode import decode_rgb
from shardsift.scoring.scorer import Scorer
from shardsift.scoring.weights import RANDOM_WEIGHTS

_SPEED_IMAGES = 16
_SPEED_REPEATS = 5


def measure_speeds(scorers: Mapping[str, Scorer]) -> dict[str, float]:
    """Measure crops a second of each, on 512 px images: the median over laps in turn."""
    images = np.random.default_rng(0).integers(0, 256, (_SPEED_IMAGES, 512, 512, 3), np.uint8)
    speeds: dict[str, list[float]] = {name: [] for name in scorers}
    for _ in range(1 + _SPEED_REPEATS):
        for name, scorer in scorers.items():
            begin = time.perf_counter()
            crops = sum(score.crops for score in scorer.score(images))
            speeds[name].append(crops / (time.perf_counter() - begin))
    return {name: float(np.median(laps[1:])) for name, laps in speeds.items()}


def _order(validation: Validation) -> dict[str, Any]:
    """Return the figures of the model card."""
    return {
        "series_in_order": validation.quality.series,
        "neighbours_in_order": validation.quality.neighbours,
        "srcc_with_level": validation.quality.srcc,
        "mean_w_sim": validation.w_sim,
        "series_in_order_by_distortion": {
            name: order.series for name, order in validation.by_distortion.items()
        },
    }


def measure(
    photos: Annotated[
        str | None, typer.Option(help="Shards that training had; its held-out part is used.")
    ] = None,
    held_out: Annotated[int, typer.Option(help="Photographs held out, as in training.")] = 150,
    skip: Annotated[
        int, typer.Option(help="So many of these, which training was ended by.")
    ] = TrainConfig().exam_photos,
    limit: Annotated[int | None, typer.Option(help="Use so many of the others only.")] = None,
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
            files = load_photos(photos, held_out).held_out[skip:][:limit]
            pictures = [decode_rgb(data, MAX_PIXELS) for data in files]
            track = start_console().track
            figures["order"] = _order(validate(scorer, pictures, DISTORTIONS, track))
            figures["order_of_unseen"] = _order(validate(scorer, pictures, UNSEEN, track))
    except (ShardsiftError, OSError) as error:
        sys.stderr.write(f"measure_compact: {error}\n")
        sys.exit(USER_ERROR)
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(measure)
