"""Rated shards in, an `Evaluation` out: what `shardsift evaluate` writes and draws.

Shapes in names: N images, V variants.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shardsift.config import attribute_columns
from shardsift.evaluation.experiment_config import ExperimentConfig
from shardsift.evaluation.groups import GroupSpread, spread_between_groups
from shardsift.evaluation.opinions import Baseline, RatedImage, Ratings, rated_images
from shardsift.evaluation.statistics import Agreement, Values, measure_agreement
from shardsift.evaluation.variants import GROUP_LABELS, ImageCues, Variant, Variants, ablations
from shardsift.progress import Course

OURS = "MA-CLIP"
SIMILARITY = "q_sim (CLIP-IQA)"
MAGNITUDE = "q_mag"


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """A row of the ablation table."""

    family: str
    name: str
    agreement: Agreement


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What came out.

    Attributes:
        opinions: as they stand in the shards, shape (N,).
        predictions: of each method, higher is better, shape (N,).
        skipped: samples without an image or an opinion, by reason.
        spread: of the magnitude cue between groups; None if there are not enough.
    """

    fingerprint: str
    config: ExperimentConfig
    keys: Sequence[str]
    opinions: Values
    predictions: Mapping[str, Values]
    skipped: Mapping[str, int]
    agreements: Mapping[str, Agreement]
    ablations: Sequence[Ablation]
    spread: GroupSpread | None


def evaluate(
    urls: Sequence[str],
    config: ExperimentConfig,
    baselines: Mapping[str, Baseline],
    course: Course | None = None,
) -> Evaluation:
    """Score all rated images, and compare with opinions; baselines are compared beside.

    A `course` counts images, of all passes over them.

    Raises:
        UserError: if shards, opinions or weights can't be had, or images are too few.
    """
    passes = _passes(config)
    first, *others = passes
    counter = _Counter(course or Course("evaluating"), len(passes))
    attributes = config.compared()
    engine = Variants(first, config.device, attributes)
    ratings = Ratings()
    cues = list(_score(urls, config, baselines, engine, ratings, counter))
    opinions_N = ratings.turned(higher_is_worse=config.higher_is_worse)
    predictions = {
        OURS: np.array([cue.quality[0] for cue in cues]),
        SIMILARITY: np.array([cue.q_sim[0] for cue in cues]),
        MAGNITUDE: np.array([cue.q_mag[0] for cue in cues]),
        **{
            name: np.array([cue.attributes[place] for cue in cues])
            for place, name in enumerate(attribute_columns(attributes))
        },
        **{name: np.array(values) for name, values in ratings.baselines.items()},
    }
    rows = [*_compare(first, cues, opinions_N)]
    for variants in others:
        rows += _further_pass(urls, config, variants, opinions_N, counter)
    counter.course.begin("computing statistics")
    agreements = {
        name: measure_agreement(values_N, opinions_N, resamples=config.resamples)
        for name, values_N in predictions.items()
    }
    groups = ratings.groups or [GROUP_LABELS[cue.label] for cue in cues]
    return Evaluation(
        fingerprint=engine.fingerprint,
        config=config,
        keys=ratings.keys,
        opinions=np.array(ratings.opinions),
        predictions=predictions,
        skipped=dict(sorted(ratings.skipped.items())),
        agreements=agreements,
        ablations=rows,
        spread=spread_between_groups(
            groups, np.array([cue.magnitude for cue in cues]), predictions[MAGNITUDE]
        ),
    )


def _passes(config: ExperimentConfig) -> list[list[Variant]]:
    """Group variants that share an encoder, the configuration under test first of all."""
    base = config.scoring()
    backbones = (name.partition("=") for name in config.backbone)
    variants = [
        Variant(family="", name=OURS, config=base),
        *ablations(base, config.ablate),
        *(
            Variant(
                family="backbone",
                name=model,
                config=base.model_copy(update={"model": model, "pretrained": weights or None}),
            )
            for model, _, weights in backbones
        ),
    ]

    def encoder(variant: Variant) -> tuple[str, str | None, bool]:
        config = variant.config
        return config.model, config.pretrained, config.crops == "dense"

    passes: dict[tuple[str, str | None, bool], list[Variant]] = {}
    for variant in variants:
        passes.setdefault(encoder(variant), []).append(variant)
    return list(passes.values())


class _Counter:
    """Tells a course how far the passes over all images have come."""

    def __init__(self, course: Course, passes: int) -> None:
        self.course = course
        self._passes = passes
        self._pass = self._images = 0

    def add(self, rated: RatedImage, limit: int | None) -> None:
        self._images += 1
        share = max(rated.reached, self._images / limit if limit else 0.0)
        self.course.step((self._pass + min(share, 1.0)) / self._passes)

    def end_pass(self) -> None:
        self._pass, self._images = self._pass + 1, 0


def _score(
    urls: Sequence[str],
    config: ExperimentConfig,
    baselines: Mapping[str, Baseline],
    engine: Variants,
    ratings: Ratings,
    counter: _Counter,
) -> Iterator[ImageCues]:
    for rated in rated_images(urls, config, baselines, ratings.skipped):
        ratings.add(rated)
        yield engine.score(rated.image)
        counter.add(rated, config.limit)
    counter.end_pass()


def _further_pass(
    urls: Sequence[str],
    config: ExperimentConfig,
    variants: list[Variant],
    opinions_N: Values,
    counter: _Counter,
) -> list[Ablation]:
    engine = Variants(variants, config.device)
    return _compare(
        variants, list(_score(urls, config, {}, engine, Ratings(), counter)), opinions_N
    )


def _compare(
    variants: Sequence[Variant], cues: Sequence[ImageCues], opinions_N: Values
) -> list[Ablation]:
    """Make the table's rows; the configuration under test is no variant of itself."""
    return [
        Ablation(
            family=variant.family,
            name=variant.name,
            agreement=measure_agreement([cue.quality[place] for cue in cues], opinions_N),
        )
        for place, variant in enumerate(variants)
        if variant.family
    ]


def bin_means(
    opinions_N: Values, values_N: Values, bins: int = 10
) -> tuple[Values, Values, Values]:
    """Average opinions and a cue over bins of equally many images, with the cue's deviation.

    Three arrays of shape (bins,), from the lowest opinions to the highest.
    """
    order_N = np.argsort(opinions_N, kind="stable")
    parts = np.array_split(order_N, min(bins, len(order_N)))
    mean = np.array([opinions_N[part].mean() for part in parts])
    value = np.array([values_N[part].mean() for part in parts])
    return mean, value, np.array([values_N[part].std() for part in parts])
