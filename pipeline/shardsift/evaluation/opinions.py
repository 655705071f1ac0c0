"""Shards whose samples carry opinion scores, as images with their opinions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from shardsift.config import did_you_mean
from shardsift.errors import ImageError, InputError, ShardError
from shardsift.evaluation.experiment_config import ExperimentConfig
from shardsift.evaluation.statistics import Values
from shardsift.records import RgbImage, Sample
from shardsift.redaction import reason
from shardsift.shards.images import decode_rgb
from shardsift.shards.samples import parse_fields, read_samples
from shardsift.storage.files import identify
from shardsift.threads import map_ordered

Baseline = Callable[[RgbImage], float]
"""An image's quality by a simple measure; higher is better."""

_THREADS = 2
_NOT_LOADED = "not_loaded"
_NO_OPINION = "no_opinion"


@dataclass(frozen=True, kw_only=True, slots=True)
class RatedImage:
    """An image, what people said of it, and what the baselines say.

    `reached` is the share of all shards that lies before its end, 0 to 1.
    """

    reached: float
    key: str
    opinion: float
    group: str | None
    image: RgbImage
    baselines: dict[str, float]


def rated_images(
    urls: Sequence[str],
    config: ExperimentConfig,
    baselines: Mapping[str, Baseline],
    skipped: Counter[str],
) -> Iterator[RatedImage]:
    """Yield the images that can be decoded and have an opinion, in order.

    The others are counted in `skipped`, by error code, `no_opinion` or `not_loaded`. Baselines are
    computed while images are decoded.

    Raises:
        InputError: if a shard can't be read to its end, or no sample has the opinion's field.
    """

    def answer(found: tuple[Sample, Mapping[str, Any], float]) -> RatedImage | str:
        return _answer(*found, config, baselines)

    samples = islice(_samples_with_fields(urls, config.mos_field), config.limit)
    for answered in map_ordered(answer, samples, _THREADS):
        if isinstance(answered, str):
            skipped[answered] += 1
        else:
            yield answered


def _samples_with_fields(
    urls: Sequence[str], mos_field: str
) -> Iterator[tuple[Sample, Mapping[str, Any], float]]:
    """Yield samples, what their `.json` says, and the share of all shards before their end."""
    for number, url in enumerate(urls):
        seen = set[str]()
        try:
            size = identify(url, url).size
            for sample in read_samples(url):
                fields = parse_fields(sample.json)
                seen.update(fields)
                image = sample.image
                end = (image.offset or 0) + image.size if image else 0
                yield sample, fields, (number + min(end / max(size, 1), 1.0)) / len(urls)
        except ShardError as error:
            raise InputError(str(error)) from error
        except OSError as error:
            raise InputError(f"{url}: can't be read: {reason(error)}") from error
        if mos_field not in seen:
            hint = did_you_mean(mos_field, seen, f"there are {', '.join(sorted(seen))}")
            raise InputError(
                f"{url}: no sample's .json has {mos_field!r}; {hint if seen else 'there is none'}"
            )


def _answer(
    sample: Sample,
    fields: Mapping[str, Any],
    reached: float,
    config: ExperimentConfig,
    baselines: Mapping[str, Baseline],
) -> RatedImage | str:
    opinion = _opinion(fields.get(config.mos_field))
    if opinion is None:
        return _NO_OPINION
    if sample.image is None or sample.image.data is None:
        return _NOT_LOADED
    try:
        image = decode_rgb(sample.image.data, config.max_pixels)
    except ImageError as error:
        return str(error.code)
    group = fields.get(config.group_field) if config.group_field else None
    return RatedImage(
        reached=reached,
        key=sample.key,
        opinion=opinion,
        group=None if group is None else str(group),
        image=image,
        baselines={name: measure(image) for name, measure in baselines.items()},
    )


def _opinion(value: object) -> float | None:
    """Return a finite number of JSON; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        opinion = float(value)
    except OverflowError:  # an integer of hundreds of digits
        return None
    return opinion if math.isfinite(opinion) else None


@dataclass(kw_only=True)
class Ratings:
    """What was said of N images, collected while they pass.

    `baselines` holds a list of N values each, `groups` is empty without a group field.
    """

    keys: list[str] = field(default_factory=list[str])
    opinions: list[float] = field(default_factory=list[float])
    groups: list[str] = field(default_factory=list[str])
    baselines: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    skipped: Counter[str] = field(default_factory=Counter[str])

    def add(self, rated: RatedImage) -> None:
        """Note everything but the picture."""
        self.keys.append(rated.key)
        self.opinions.append(rated.opinion)
        if rated.group is not None:
            self.groups.append(rated.group)
        for name, value in rated.baselines.items():
            self.baselines.setdefault(name, []).append(value)

    def turned(self, *, higher_is_worse: bool) -> Values:
        """Turn opinions so that higher is better, shape (N,)."""
        return np.array(self.opinions) * (-1.0 if higher_is_worse else 1.0)
