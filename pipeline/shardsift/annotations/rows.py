"""The rows of a shard while they come about, column by column.

Shapes in names: G images of as many crops each, A attributes, C crops.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from shardsift.errors import ErrorCode, ImageError
from shardsift.images.decoder import Picture, Prepared
from shardsift.measures import Measure
from shardsift.outputs.encoder import AnnotationEncoder
from shardsift.outputs.sealed_table import ROW_GROUP_ROWS
from shardsift.records import CUES, ImageScore, Sample

_SCORES = ("crops", *CUES, "quality_min", "quality_std")
_MESSAGE_LENGTH = 200
_EMBEDDING = "embedding"
_NOT_FINITE = "the encoder gave a value that is not finite"


class OpenRows:
    """Rows in shard order, of which the last ones wait for their scores.

    Those before them go to the encoder as soon as they fill a row group.
    """

    def __init__(self, encoder: AnnotationEncoder, measures: Sequence[Measure] = ()) -> None:
        """Begin with no rows; `measures` are asked of the pictures, the others by the scorer."""
        self._encoder = encoder
        self._measures = measures
        contents = encoder.contents
        own = contents.measures.get("attributes")
        self._scores = [*_SCORES, *(column.name for column in (own.columns if own else ()))]
        self._columns: dict[str, list[Any]] = {
            column.name: [] for column in contents.columns if column.name != "shard"
        }
        if contents.embeddings:
            self._columns[_EMBEDDING] = []
        self._waiting: deque[int] = deque()

    def add(
        self, samples: Sequence[Sample], pictures: Sequence[Picture], prepared: Sequence[Prepared]
    ) -> None:
        """Take in the next samples, each with its image, which gets a score later, or its error."""
        first = self._encoder.rows + len(self._columns["index"])
        indices = [sample.index for sample in samples]
        assert indices == list(range(first, first + len(samples))), "samples come in order"
        images = [sample.image for sample in samples]
        errors = [one if isinstance(one, ImageError) else None for one in pictures]
        shapes = [(None, None) if isinstance(p, ImageError) else p.shape[:2] for p in pictures]
        none = [None] * len(samples)
        new: dict[str, list[Any]] = {
            "key": [sample.key for sample in samples],
            "index": indices,
            "uid": [sample.uid for sample in samples],
            "image_ext": [image and image.extension for image in images],
            "tar_offset": [image and image.offset for image in images],
            "tar_size": [image and image.size for image in images],
            "height": [height for height, _ in shapes],
            "width": [width for _, width in shapes],
            "error": [error and error.code for error in errors],
            "error_message": [error and _line(error) for error in errors],
        }
        for number, measure in enumerate(self._measures):
            new |= _measured(measure, [own[number] for own in prepared])
        for name, column in self._columns.items():
            column += new.get(name, none)
        waiting = zip(indices, errors, strict=True)
        self._waiting += [index for index, error in waiting if error is None]
        self._pass_on()

    def set_scores(self, scores: Sequence[ImageScore]) -> None:
        """Score the first rows that wait: means over crops, or `non_finite` if one isn't finite."""
        places = [self._waiting.popleft() - self._encoder.rows for _ in scores]
        for place, score, values in zip(places, scores, _sum_up(scores), strict=True):
            if values is None:
                self._columns["error"][place] = ErrorCode.NON_FINITE
                self._columns["error_message"][place] = _NOT_FINITE
                continue
            for name, value in zip(self._scores, values, strict=True):
                self._columns[name][place] = value
            if _EMBEDDING in self._columns:
                self._columns[_EMBEDDING][place] = score.embedding
        self._pass_on()

    def close(self) -> None:
        """Encode what is left."""
        assert not self._waiting, "the scorer gave fewer scores than it took images"
        if self._columns["index"]:
            self._encoder.add(self._columns)

    def _pass_on(self) -> None:
        held = len(self._columns["index"])
        ready = self._waiting[0] - self._encoder.rows if self._waiting else held
        if ready >= ROW_GROUP_ROWS:
            self._encoder.add({name: each[:ROW_GROUP_ROWS] for name, each in self._columns.items()})
            for column in self._columns.values():
                del column[:ROW_GROUP_ROWS]


def _measured(measure: Measure, prepared: Sequence[Any]) -> dict[str, list[Any]]:
    """Return a measure's columns, null where nothing is prepared."""
    places = [place for place, own in enumerate(prepared) if own is not None]
    found: dict[str, list[Any]] = {c.name: [None] * len(prepared) for c in measure.columns}
    if places:
        values = measure.measure([prepared[place] for place in places])
        for column, own in zip(found.values(), values, strict=True):
            for place, value in zip(places, own, strict=True):
                column[place] = value
    return found


def _line(error: ImageError) -> str:
    return " ".join(str(error).split())[:_MESSAGE_LENGTH]


def _sum_up(scores: Sequence[ImageScore]) -> list[tuple[Any, ...] | None]:
    """Return `_SCORES` and attributes of each image; None if a crop's value isn't finite."""
    alike: defaultdict[int, list[int]] = defaultdict(list)
    for place, score in enumerate(scores):
        alike[score.crops].append(place)
    found: list[tuple[Any, ...] | None] = [None] * len(scores)
    for crops, places in alike.items():
        own = [scores[place] for place in places]
        cues = [getattr(score, cue) for cue in CUES for score in own]
        cues_4GC = np.concatenate(cues).reshape(len(CUES), len(own), crops)
        attributes_GAC = np.stack([score.attributes for score in own])
        finite_G: Any = np.isfinite(cues_4GC).all(axis=(0, 2)) & np.isfinite(attributes_GAC).all(
            (1, 2)
        )
        with np.errstate(all="ignore"):
            spread = cues_4GC[0].min(axis=1), cues_4GC[0].std(axis=1)
            values = [*cues_4GC.mean(axis=2), *spread]
            values += list(attributes_GAC.mean(axis=2).T) if attributes_GAC.size else []
        rows: Iterable[tuple[Any, ...]] = zip(*(each.tolist() for each in values), strict=True)
        for place, finite, row in zip(places, finite_G.tolist(), rows, strict=True):
            found[place] = (crops, *row) if finite else None
    return found
