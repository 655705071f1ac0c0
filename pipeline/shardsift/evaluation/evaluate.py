"""Rated shards in, an `Evaluation` out: what `shardsift evaluate` writes and draws.

Shapes in names: N images, V variants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shardsift.config import attribute_columns
from shardsift.errors import InputError
from shardsift.evaluation.experiment_config import ExperimentConfig
from shardsift.evaluation.groups import GroupSpread, check_labels, spread_between_groups
from shardsift.evaluation.opinions import Baseline, Ratings, rated_images
from shardsift.evaluation.paper_statistics import PaperAgreement, measure_as_authors
from shardsift.evaluation.statistics import Agreement, Values, measure_agreement
from shardsift.evaluation.thirds import Third, agreement_by_third
from shardsift.evaluation.variants import GROUP_LABELS, ImageCues, Variant, Variants, ablations
from shardsift.progress import Course

OURS = "MA-CLIP"
SIMILARITY = "q_sim (CLIP-IQA)"
MAGNITUDE = "q_mag"


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """A row of the ablation table, and the predictions that it tells of, shape (N,)."""

    family: str
    name: str
    agreement: Agreement
    predictions: Values


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What came out.

    Attributes:
        opinions: as they stand in the shards, or as the authors scale them, shape (N,).
        predictions: of each method, higher is better, shape (N,).
        skipped: samples without an image or an opinion, by reason.
        as_authors: of each method; empty unless the paper's protocol was asked for.
        thirds: agreement in low, middle and high quality.
        groups: which semantic group each image is in.
        magnitude: the magnitude cue before Box-Cox, shape (N,).
        spread: of the magnitude cue between groups; else the reason why there is none.
    """

    fingerprint: str
    config: ExperimentConfig
    keys: Sequence[str]
    opinions: Values
    predictions: Mapping[str, Values]
    skipped: Mapping[str, int]
    agreements: Mapping[str, Agreement]
    as_authors: Mapping[str, PaperAgreement]
    ablations: Sequence[Ablation]
    thirds: Sequence[Third]
    groups: Sequence[str]
    magnitude: Values
    spread: GroupSpread | str


def evaluate(
    urls: Sequence[str],
    config: ExperimentConfig,
    baselines: Mapping[str, Baseline],
    course: Course | None = None,
) -> Evaluation:
    """Score all rated images, and compare with opinions; baselines are compared beside.

    All models are loaded at once, so that one that can't be had is told before anything is scored,
    and every image is decoded once. A `course` counts images.

    Raises:
        UserError: if shards, opinions or weights can't be had, or images are too few.
    """
    course = course or Course("evaluating")
    first, *others = _by_encoder(config)
    engines = [
        Variants(first, config.device, config.compared()),
        *(Variants(variants, config.device) for variants in others),
    ]
    ratings = Ratings()
    cues: list[list[ImageCues]] = [[] for _ in engines]
    for rated in rated_images(urls, config, baselines, ratings.skipped):
        ratings.add(rated)
        for own, engine in zip(cues, engines, strict=True):
            own.append(engine.score(rated.image))
        done = len(ratings.keys) / config.limit if config.limit else 0.0
        course.step(min(max(rated.reached, done), 1.0))
    return _summarise(config, ratings, engines, cues, course)


def _summarise(
    config: ExperimentConfig,
    ratings: Ratings,
    engines: Sequence[Variants],
    cues: Sequence[Sequence[ImageCues]],
    course: Course,
) -> Evaluation:
    opinions_N = ratings.scaled(to_one=bool(config.paper_set and config.paper_set.is_scaled))
    better_N = -opinions_N if config.higher_is_worse else opinions_N
    predictions = _predictions(config, ratings, cues[0])
    groups = ratings.groups if config.group_field else [GROUP_LABELS[cue.label] for cue in cues[0]]
    magnitude_N = np.array([cue.magnitude for cue in cues[0]])
    return Evaluation(
        fingerprint=engines[0].fingerprint,
        config=config,
        keys=ratings.keys,
        opinions=opinions_N,
        predictions=predictions,
        skipped=dict(sorted(ratings.skipped.items())),
        agreements=_agreements(config, predictions, better_N, course),
        as_authors={
            name: measure_as_authors(values_N, opinions_N)
            for name, values_N in predictions.items()
            if config.paper_set
        },
        ablations=[
            row
            for engine, own in zip(engines, cues, strict=True)
            for row in _compare(engine.variants, own, better_N)
        ],
        thirds=agreement_by_third(
            {name: predictions[name] for name in (OURS, SIMILARITY, MAGNITUDE)},
            opinions_N,
            higher_is_worse=config.higher_is_worse,
            resamples=config.resamples,
        ),
        groups=groups,
        magnitude=magnitude_N,
        spread=_spread(config, groups, magnitude_N, predictions[MAGNITUDE]),
    )


def _agreements(
    config: ExperimentConfig, predictions: Mapping[str, Values], opinions_N: Values, course: Course
) -> dict[str, Agreement]:
    found: dict[str, Agreement] = {}
    for name, values_N in predictions.items():
        course.begin(f"computing statistics of {name}")
        found[name] = measure_agreement(values_N, opinions_N, resamples=config.resamples)
    course.begin("computing statistics")
    return found


def _predictions(
    config: ExperimentConfig, ratings: Ratings, cues: Sequence[ImageCues]
) -> dict[str, Values]:
    """Collect the values of each method, shape (N,)."""
    return {
        OURS: np.array([cue.compared[0] for cue in cues]),
        SIMILARITY: np.array([cue.q_sim for cue in cues]),
        MAGNITUDE: np.array([cue.q_mag for cue in cues]),
        **{
            name: np.array([cue.attributes[place] for cue in cues])
            for place, name in enumerate(attribute_columns(config.compared()))
        },
        **{name: np.array(values) for name, values in ratings.baselines.items()},
    }


def _spread(
    config: ExperimentConfig, groups: Sequence[str], before_N: Values, after_N: Values
) -> GroupSpread | str:
    try:
        if config.group_field:
            source = f"{config.group_field} of the set"
        else:
            check_labels(groups, config.model)
            source = f"zero-shot labels by {config.model}"
        return spread_between_groups(
            groups, before_N, after_N, source=source, resamples=config.resamples
        )
    except InputError as error:
        return str(error)


def _by_encoder(config: ExperimentConfig) -> list[list[Variant]]:
    """Group variants that share an encoder, the configuration under test first of all."""
    base = config.scoring()
    backbones = ((given, *given.partition("=")) for given in dict.fromkeys(config.backbone))
    variants = [
        Variant(family="", name=OURS, config=base),
        *ablations(base, config.ablate),
        *(
            Variant(
                family="backbone",
                name=given,
                config=base.model_copy(update={"model": model, "pretrained": weights or None}),
            )
            for given, model, _, weights in backbones
        ),
    ]

    together: dict[tuple[str, str | None], list[Variant]] = {}
    for variant in variants:
        encoder = variant.config.model, variant.config.pretrained
        together.setdefault(encoder, []).append(variant)
    return list(together.values())


def _compare(
    variants: Sequence[Variant], cues: Sequence[ImageCues], opinions_N: Values
) -> list[Ablation]:
    """Make the table's rows; the configuration under test is no variant of itself."""
    compared_VN = np.array([cue.compared for cue in cues]).T
    return [
        Ablation(
            family=variant.family,
            name=variant.name,
            agreement=measure_agreement(predictions_N, opinions_N),
            predictions=predictions_N,
        )
        for variant, predictions_N in zip(variants, compared_VN, strict=True)
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
