"""Scores of rated images beside their opinions. N in shapes: images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from shardsift.config import attribute_columns
from shardsift.config.verb_settings import EvaluateConfig
from shardsift.evaluation.opinions import RatedShards
from shardsift.evaluation.statistics import Agreement, Values, measure_agreement
from shardsift.images.decode import decode_rgb
from shardsift.progress import Course
from shardsift.records import ImageScore, RgbImage
from shardsift.scoring.scorer import Scorer
from shardsift.shards.plan import plan_shards

OURS = "MA-CLIP"
SIMILARITY = "q_sim (CLIP-IQA)"
MAGNITUDE = "q_mag"
LAPLACIAN = "Laplacian variance"

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Agreement of MA-CLIP, its cues, attributes and a baseline with opinions.

    Attributes:
        opinions: as recorded in the shards, shape (N,).
        predictions: of each method, higher is better, shape (N,).
        skipped: number of samples without an image or an opinion, by reason.
    """

    fingerprint: str
    keys: Sequence[str]
    opinions: Values
    predictions: Mapping[str, Values]
    skipped: Mapping[str, int]
    agreements: Mapping[str, Agreement]


def evaluate(config: EvaluateConfig, course: Course | None = None) -> Evaluation:
    """Score all rated images, and compare with opinions. A `course` counts images.

    Raises:
        UserError: if shards, opinions or weights can't be had, or images are too few.
    """
    course = course or Course("evaluating")
    compared = config.compared()
    scorer = Scorer(config.scoring(), attributes=compared, device=config.device)
    shards = RatedShards(
        tasks=list(plan_shards(config.shards, config.reading())),
        mos_field=config.mos_field,
        decode=lambda data: decode_rgb(data, config.max_pixels),
        limit=config.limit,
        baselines={LAPLACIAN: laplacian_variance},
    )
    keys, opinions, sharpness = list[str](), list[float](), list[float]()
    skipped = Counter[str]()

    def images() -> Iterator[RgbImage]:
        for rated in shards.images(skipped):
            keys.append(rated.key)
            opinions.append(rated.opinion)
            sharpness.append(rated.baselines[LAPLACIAN])
            done = len(keys) / config.limit if config.limit else 0.0
            course.step(min(max(rated.reached, done), 1.0))
            yield rated.image

    scores = list(scorer.score(images()))
    predictions = _means(scores, attribute_columns(compared)) | {LAPLACIAN: np.array(sharpness)}
    opinions_N = np.array(opinions)
    better_N = -opinions_N if config.higher_is_worse else opinions_N
    agreements: dict[str, Agreement] = {}
    for name, values_N in predictions.items():
        course.begin(f"computing statistics of {name}")
        agreements[name] = measure_agreement(values_N, better_N, resamples=config.resamples)
    return Evaluation(
        fingerprint=scorer.fingerprint,
        keys=keys,
        opinions=opinions_N,
        predictions=predictions,
        skipped=dict(sorted(skipped.items())),
        agreements=agreements,
    )


def _means(scores: Sequence[ImageScore], attributes: Sequence[str]) -> dict[str, Values]:
    """Average each method over the crops of an image, shape (N,)."""
    crops = [score.per_crop for score in scores]
    columns = {OURS: "quality", SIMILARITY: "q_sim", MAGNITUDE: "q_mag"}
    found = {
        name: np.array([getattr(one, cue).mean(dtype=np.float64) for one in crops])
        for name, cue in columns.items()
    }
    for place, name in enumerate(attributes):
        found[name] = np.array([one.attributes[place].mean(dtype=np.float64) for one in crops])
    return found


def laplacian_variance(image: RgbImage) -> float:
    """Compute the variance of the Laplacian of the luma (ITU-R BT.601): plain sharpness."""
    return float(ndimage.laplace(image.astype(np.float32) @ _LUMA).var())
