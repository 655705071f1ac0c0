"""Shards whose samples carry opinion scores, as images with their opinions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from shardsift.config import did_you_mean
from shardsift.errors import ErrorCode, ImageError, InputError, ShardError
from shardsift.records import RgbImage, Sample, ShardTask
from shardsift.redaction import reason
from shardsift.shards.readers import identify_shard, read_samples
from shardsift.shards.samples import parse_fields
from shardsift.threads import map_ordered

Baseline = Callable[[RgbImage], float]
"""Measures an image's quality in a simple way; higher is better."""

ONLY_PROTOCOL = "only_protocol"
"""Field in the `.json` of samples that only count under one protocol of `jobs.paper`."""

_THREADS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class RatedImage:
    """An image, its opinion score, the fields of its `.json`, and the baselines' values.

    `reached` is the share of all shards that lies before its end, 0 to 1.
    """

    reached: float
    key: str
    opinion: float
    fields: Mapping[str, Any]
    image: RgbImage
    baselines: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class RatedShards:
    """Shards whose samples carry opinions, and how they are read.

    Attributes:
        mos_field: field of the opinion in a sample's `.json`, or column of a table.
        decode: turns an image file's bytes into RGB. Raises ImageError.
        protocol: samples of another protocol are left out.
        further: other fields that some sample of each shard has to have.
        limit: number of samples to read; None for all.
        baselines: are computed while images are decoded.
    """

    tasks: Sequence[ShardTask]
    mos_field: str
    decode: Callable[[bytes], RgbImage]
    protocol: str = "native"
    further: Sequence[str] = ()
    limit: int | None = None
    baselines: Mapping[str, Baseline]

    def images(self, skipped: Counter[str]) -> Iterator[RatedImage]:
        """Yield the images that can be decoded and have an opinion, in order.

        The others are counted in `skipped`, by error code, `no_opinion`, `opinion_is_text`,
        `not_loaded` or `other_protocol`.

        Raises:
            InputError: if a shard can't be read to its end, or no sample has the opinion's field.
        """
        samples = islice(self._samples(), self.limit)
        for rated in map_ordered(lambda found: self._rate(*found), samples, _THREADS):
            if isinstance(rated, str):
                skipped[rated] += 1
            else:
                yield rated

    def _samples(self) -> Iterator[tuple[Sample, Mapping[str, Any], float]]:
        """Yield samples, the fields of their `.json`, and the share of all shards before them."""
        for number, task in enumerate(self.tasks):
            seen, samples = set[str](), 0
            is_tar = task.reading.kind == "tar"
            try:
                size = identify_shard(task).size
                for sample in read_samples(task, size=size, whole=not is_tar):
                    fields = parse_fields(sample.json)
                    seen.update(fields)
                    samples += 1
                    reached = (number + min(sample.reached / max(size, 1), 1.0)) / len(self.tasks)
                    yield sample, fields, reached
            except ShardError as error:
                raise InputError(str(error)) from error
            except OSError as error:
                raise InputError(f"{task.url}: can't be read: {reason(error)}") from error
            for name in (self.mos_field, *self.further):
                if name not in seen and samples:
                    hint = did_you_mean(name, seen, f"there are {', '.join(sorted(seen))}")
                    there = hint if seen else "there is none"
                    where = "sample's .json" if is_tar else "row or file beside a picture"
                    raise InputError(f"{task.url}: no {where} has {name!r}; {there}")

    def _rate(self, sample: Sample, fields: Mapping[str, Any], reached: float) -> RatedImage | str:
        """Decode an image; return the reason in its place if it doesn't count."""
        if fields.get(ONLY_PROTOCOL, self.protocol) != self.protocol:
            return "other_protocol"
        said = fields.get(self.mos_field)
        opinion = _opinion(said)
        if opinion is None:
            return "opinion_is_text" if isinstance(said, str) else "no_opinion"
        if sample.image is None:
            return str(ErrorCode.MISSING_IMAGE)
        if sample.image.data is None:
            return "not_loaded"
        try:
            image = self.decode(sample.image.data)
        except ImageError as error:
            return str(error.code)
        return RatedImage(
            reached=reached,
            key=sample.key,
            opinion=opinion,
            fields=fields,
            image=image,
            baselines={name: measure(image) for name, measure in self.baselines.items()},
        )


def _opinion(value: object) -> float | None:
    """Return a finite number of JSON; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        opinion = float(value)
    except OverflowError:  # an integer with hundreds of digits
        return None
    return opinion if math.isfinite(opinion) else None
