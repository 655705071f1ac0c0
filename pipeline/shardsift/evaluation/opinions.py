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
from shardsift.errors import ErrorCode, ImageError, InputError, ShardError
from shardsift.evaluation.experiment_config import ExperimentConfig
from shardsift.evaluation.paper import ONLY_PROTOCOL
from shardsift.evaluation.statistics import Values
from shardsift.records import RgbImage, Sample
from shardsift.redaction import reason
from shardsift.shards.images import decode_rgb, resize_bicubic
from shardsift.shards.samples import parse_fields, read_samples
from shardsift.storage.files import identify
from shardsift.threads import map_ordered

Baseline = Callable[[RgbImage], float]
"""An image's quality by a simple measure; higher is better."""

_THREADS = 2
_NOT_LOADED = "not_loaded"
_TEXT = "opinion_is_text"
_NO_IMAGE = str(ErrorCode.MISSING_IMAGE)
_NO_OPINION = "no_opinion"
_OTHER_PROTOCOL = "other_protocol"


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

    The others are counted in `skipped`, by error code, `no_opinion`, `opinion_is_text`,
    `not_loaded` or `other_protocol`. Baselines are computed while images are decoded.

    Raises:
        InputError: if a shard can't be read to its end, or no sample has the opinion's field.
    """

    def answer(found: tuple[Sample, Mapping[str, Any], float]) -> RatedImage | str:
        return _answer(*found, config, baselines)

    wanted = [config.mos_field, *([config.group_field] if config.group_field else [])]
    samples = islice(_samples_with_fields(urls, wanted), config.limit)
    for answered in map_ordered(answer, samples, _THREADS):
        if isinstance(answered, str):
            skipped[answered] += 1
        else:
            yield answered


def _samples_with_fields(
    urls: Sequence[str], wanted: Sequence[str]
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
        for name in wanted:
            if name not in seen:
                hint = did_you_mean(name, seen, f"there are {', '.join(sorted(seen))}")
                raise InputError(
                    f"{url}: no sample's .json has {name!r}; {hint if seen else 'there is none'}"
                )


def _answer(
    sample: Sample,
    fields: Mapping[str, Any],
    reached: float,
    config: ExperimentConfig,
    baselines: Mapping[str, Baseline],
) -> RatedImage | str:
    if fields.get(ONLY_PROTOCOL, config.protocol) != config.protocol:
        return _OTHER_PROTOCOL
    told = fields.get(config.mos_field)
    opinion = _opinion(told)
    if opinion is None:
        return _TEXT if isinstance(told, str) else _NO_OPINION
    if sample.image is None:
        return _NO_IMAGE
    if sample.image.data is None:
        return _NOT_LOADED
    try:
        image = _decode(sample.image.data, config)
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


def _decode(data: bytes, config: ExperimentConfig) -> RgbImage:
    """Decode as `score` does; or as the authors do, who don't turn by EXIF and may resize."""
    if config.paper_set is None:
        return decode_rgb(data, config.max_pixels)
    image = decode_rgb(data, config.max_pixels, upright=False)
    side = config.paper_set.side
    return image if side is None else resize_bicubic(image, side)


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

    `baselines` holds a list of N values each; a sample without the group field is in group `none`.
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
        self.groups.append("none" if rated.group is None else rated.group)
        for name, value in rated.baselines.items():
            self.baselines.setdefault(name, []).append(value)

    def scaled(self, *, to_one: bool) -> Values:
        """Return opinions, shape (N,); from 0 for the lowest to 1 for the highest if asked."""
        opinions_N = np.array(self.opinions)
        if not to_one or not len(opinions_N):
            return opinions_N
        return (opinions_N - opinions_N.min()) / (np.ptp(opinions_N) or 1.0)
