"""MA-CLIP, its variants and baselines on rated shards. N in shapes: images; V: variants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from jobs.paper.config import ExperimentConfig
from jobs.paper.groups import GroupSpread, check_labels, spread_between_groups
from jobs.paper.protocol import PaperAgreement, measure_as_authors
from jobs.paper.thirds import Third, agreement_by_third
from jobs.paper.variants import GROUP_LABELS, ImageCues, Variant, Variants, ablations
from shardsift.config import attribute_columns
from shardsift.errors import InputError
from shardsift.evaluation.agreement import MAGNITUDE, OURS, SIMILARITY, Evaluation
from shardsift.evaluation.opinions import Baseline, RatedImage, RatedShards
from shardsift.evaluation.statistics import Agreement, Values, measure_agreement
from shardsift.images.decode import decode_rgb
from shardsift.progress import Course
from shardsift.records import RgbImage
from shardsift.shards.plan import plan_shards


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """A row of the ablation table, and the predictions that it tells of, shape (N,)."""

    family: str
    name: str
    agreement: Agreement
    predictions: Values


@dataclass(frozen=True, kw_only=True)
class Experiment(Evaluation):
    """An evaluation, its ablations, and the numbers of the paper's figures.

    Attributes:
        opinions: as they stand in the shards, or as the authors scale them, shape (N,).
        as_authors: of each method; empty unless the paper's protocol was asked for.
        thirds: agreement in low, middle and high quality.
        groups: semantic group of each image.
        magnitude: the magnitude cue before Box-Cox, shape (N,).
        spread: of the magnitude cue between groups; else the reason why there is none.
    """

    config: ExperimentConfig
    as_authors: Mapping[str, PaperAgreement]
    ablations: Sequence[Ablation]
    thirds: Sequence[Third]
    groups: Sequence[str]
    magnitude: Values
    spread: GroupSpread | str


@dataclass(kw_only=True)
class _Ratings:
    """Opinions and baselines of N images, collected while they pass."""

    keys: list[str] = field(default_factory=list[str])
    opinions: list[float] = field(default_factory=list[float])
    groups: list[str] = field(default_factory=list[str])
    baselines: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    skipped: Counter[str] = field(default_factory=Counter[str])

    def add(self, rated: RatedImage, group_field: str | None) -> None:
        """Note everything but the picture; a sample without the group field is in group `none`."""
        self.keys.append(rated.key)
        self.opinions.append(rated.opinion)
        group = rated.fields.get(group_field) if group_field else None
        self.groups.append("none" if group is None else str(group))
        for name, value in rated.baselines.items():
            self.baselines.setdefault(name, []).append(value)

    def scaled(self, *, to_one: bool) -> Values:
        """Return opinions, shape (N,); from 0 for the lowest to 1 for the highest if asked."""
        opinions_N = np.array(self.opinions)
        if not to_one or not len(opinions_N):
            return opinions_N
        return (opinions_N - opinions_N.min()) / (np.ptp(opinions_N) or 1.0)


def evaluate(
    shards: Sequence[str],
    config: ExperimentConfig,
    baselines: Mapping[str, Baseline],
    course: Course | None = None,
) -> Experiment:
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
    ratings = _Ratings()
    cues: list[list[ImageCues]] = [[] for _ in engines]
    rated_shards = RatedShards(
        tasks=list(plan_shards(shards)),
        mos_field=config.mos_field,
        decode=lambda data: _decode(data, config),
        protocol=config.protocol,
        further=[config.group_field] if config.group_field else [],
        limit=config.limit,
        baselines=baselines,
    )
    for rated in rated_shards.images(ratings.skipped):
        ratings.add(rated, config.group_field)
        for own, engine in zip(cues, engines, strict=True):
            own.append(engine.score(rated.image))
        done = len(ratings.keys) / config.limit if config.limit else 0.0
        course.step(min(max(rated.reached, done), 1.0))
    return _summarise(config, ratings, engines, cues, course)


def _decode(data: bytes, config: ExperimentConfig) -> RgbImage:
    """Decode as `score` does; or as the authors do, who don't turn by EXIF and may resize."""
    if config.paper_set is None:
        return decode_rgb(data, config.max_pixels)
    image = decode_rgb(data, config.max_pixels, upright=False)
    side = config.paper_set.side
    if side is None:
        return image
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))


def _summarise(
    config: ExperimentConfig,
    ratings: _Ratings,
    engines: Sequence[Variants],
    cues: Sequence[Sequence[ImageCues]],
    course: Course,
) -> Experiment:
    opinions_N = ratings.scaled(to_one=bool(config.paper_set and config.paper_set.is_scaled))
    better_N = -opinions_N if config.higher_is_worse else opinions_N
    predictions = _predictions(config, ratings, cues[0])
    groups = ratings.groups if config.group_field else [GROUP_LABELS[cue.label] for cue in cues[0]]
    magnitude_N = np.array([cue.magnitude for cue in cues[0]])
    return Experiment(
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
    config: ExperimentConfig, ratings: _Ratings, cues: Sequence[ImageCues]
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
