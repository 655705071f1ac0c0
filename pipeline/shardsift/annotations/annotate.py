"""One shard to one Parquet: the core loop, from reading to the commit.

Shapes in names: G images of as many crops each, A attributes, C crops.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import chain, islice
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from shardsift.config import PICTURE_SECONDS
from shardsift.errors import AnnotationError, ErrorCode, ImageError, OutputError, ShardError
from shardsift.images.decoder import (
    TWO_THREADS,
    Decoder,
    Picture,
    Prepared,
    Wanted,
    decode_in_order,
    in_chunks,
)
from shardsift.measures import FEATURES, MACLIP, Contents, Measure, Tower, contents_of
from shardsift.outputs.annotation_encoder import AnnotationEncoder, Encoded
from shardsift.outputs.embeddings import EmbeddingsFile, embeddings_name
from shardsift.outputs.sealed_table import ROW_GROUP_ROWS, read_footer
from shardsift.progress import Meter, ShardMeter
from shardsift.records import (
    CUES,
    EXAMPLES,
    Embedding,
    ImageScore,
    PassedOver,
    RgbImage,
    Sample,
    ShardReport,
    ShardTask,
    StageSeconds,
)
from shardsift.redaction import reason
from shardsift.shards.beside import caption_of
from shardsift.shards.readers import identify_shard, read_samples
from shardsift.storage.files import commit, delete, join
from shardsift.storage.lease import Lease
from shardsift.storage.local import Guard, no_guard
from shardsift.threads import prefetch

if TYPE_CHECKING:
    from shardsift.scoring.scorer import ImageScorer


_SCORES = ("crops", *CUES, "quality_min", "quality_std")
_MESSAGE_LENGTH = 200
_MACLIP_MEANING = (
    "MA-CLIP's image features of the whole view, before normalisation; no CLIP embeddings: without "
    "position embedding, and of a picture squashed to a square"
)
_NOT_FINITE = "the encoder gave a value that is not finite"


class _Asked:
    """A measure, and the rows that wait for its values until they fill a batch."""

    def __init__(self, measure: Measure) -> None:
        self.measure = measure
        self.waiting: list[int] = []
        self._items: list[Any] = []

    def add(self, indices: Sequence[int], items: Sequence[Any]) -> None:
        """Take in rows, and what the measure gets of each."""
        self.waiting += indices
        self._items += items

    def values(self, *, all_of_them: bool = False) -> tuple[list[int], Sequence[Sequence[Any]]]:
        """Return rows in whole batches, or all that wait, and their values by column."""
        held, step = len(self._items), self.measure.batch_size or 1
        take = held if all_of_them else held - held % step
        if not take:
            return [], []
        indices, items = self.waiting[:take], self._items[:take]
        del self.waiting[:take], self._items[:take]
        return indices, self.measure.measure(items)


class OpenRows:
    """Rows in shard order, of which the last ones wait for their scores.

    Those before them go to the encoder as soon as they fill a row group.
    """

    def __init__(self, encoder: AnnotationEncoder, measures: Sequence[Measure] = ()) -> None:
        """Begin with no rows; `measures` are asked of the pictures, the others by the scorer."""
        self._encoder = encoder
        self._asked = [_Asked(measure) for measure in measures if not measure.source]
        self._heads = [measure for measure in measures if measure.source]
        contents = encoder.contents
        own = contents.measures.get("attributes")
        by_scorer = own.columns if own and FEATURES in own.needs else ()
        self._scores = [*_SCORES, *(column.name for column in by_scorer)]
        self._columns: dict[str, list[Any]] = {
            column.name: [] for column in contents.columns if column.name != "shard"
        }
        self._embeddings: dict[str, list[Embedding | None]] = {
            tower: [] for tower in contents.embeddings
        }
        self.not_texts: int = 0
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
            "error_message": [
                error and " ".join(str(error).split())[:_MESSAGE_LENGTH] for error in errors
            ],
        }
        for name, column in self._columns.items():
            column += new.get(name, none)
        for column in self._embeddings.values():
            column += none
        for number, asked in enumerate(self._asked):
            places = [place for place, own in enumerate(prepared) if own[number] is not None]
            items = [prepared[place][number] for place in places]
            if "text" in asked.measure.needs:
                captions = self._captions(asked.measure, samples, places)
                items = list(zip(items, captions, strict=True))
            asked.add([indices[place] for place in places], items)
            self._set(asked)
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
            if MACLIP in self._embeddings:
                self._embeddings[MACLIP][place] = score.embedding
        self._pass_on()

    def close(self) -> None:
        """Encode the remaining rows."""
        assert not self._waiting, "the scorer gave fewer scores than it took images"
        for asked in self._asked:
            self._set(asked, all_of_them=True)
        self._pass_on()
        if self._columns["index"]:
            self._encoder.add(self._columns, self._embeddings)

    def _captions(
        self, measure: Measure, samples: Sequence[Sample], places: Sequence[int]
    ) -> list[str | None]:
        found = [caption_of(samples[place], measure.caption) for place in places]
        self.not_texts += sum(is_no_text for _, is_no_text in found)
        return [caption for caption, _ in found]

    def _set(self, asked: _Asked, *, all_of_them: bool = False) -> None:
        """Write the values of a measure into their rows."""
        indices, values = asked.values(all_of_them=all_of_them)
        if not indices:
            return
        measure, first = asked.measure, self._encoder.rows
        columns = [self._columns[column.name] for column in measure.columns]
        found = list(values[: len(columns)])
        if measure.keeps_embeddings:
            columns.append(self._embeddings[measure.name])
            found.append(values[-1])
        for head in self._heads:
            if head.source == measure.name:
                columns += [self._columns[column.name] for column in head.columns]
                found += head.measure(values[-1])
        for column, own in zip(columns, found, strict=True):
            for index, value in zip(indices, own, strict=True):
                column[index - first] = value

    def _pass_on(self) -> None:
        queues = self._waiting, *(asked.waiting for asked in self._asked)
        end = self._encoder.rows + len(self._columns["index"])
        ready = min((queue[0] for queue in queues if queue), default=end)
        if ready - self._encoder.rows >= ROW_GROUP_ROWS:
            every = self._columns, self._embeddings
            now = [{name: each[:ROW_GROUP_ROWS] for name, each in part.items()} for part in every]
            self._encoder.add(*now)
            for part in every:
                for column in part.values():
                    del column[:ROW_GROUP_ROWS]


def _sum_up(scores: Sequence[ImageScore]) -> list[tuple[Any, ...] | None]:
    """Return `_SCORES` and attributes of each image; None if a crop's value isn't finite."""
    alike: defaultdict[int, list[int]] = defaultdict(list)
    for place, score in enumerate(scores):
        alike[score.crops].append(place)
    found: list[tuple[Any, ...] | None] = [None] * len(scores)
    for crops, places in alike.items():
        own = [scores[place].per_crop for place in places]
        cues = [getattr(crops_of, cue) for cue in CUES for crops_of in own]
        cues_4GC = np.concatenate(cues).reshape(len(CUES), len(own), crops)
        attributes_GAC = np.stack([crops_of.attributes for crops_of in own])
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


ItemT = TypeVar("ItemT")


class StageClock:
    """Adds up seconds by stage, from any thread; stages overlap, so do their seconds."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._lock = Lock()

    @property
    def seconds(self) -> dict[str, float]:
        """Stage to seconds, in the order in which stages were first measured."""
        with self._lock:
            return dict(self._seconds)

    @contextmanager
    def measure(self, stage: str) -> Generator[None]:
        """Count the block's time."""
        started = perf_counter()
        try:
            yield
        finally:
            self.add(stage, perf_counter() - started)

    def iterate(self, stage: str, items: Iterable[ItemT]) -> Iterator[ItemT]:
        """Pass the items on, and count the time that it takes to get each of them."""
        iterator = iter(items)
        while True:
            with self.measure(stage):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def add(self, stage: str, seconds: float) -> None:
        """Count seconds that were measured elsewhere."""
        with self._lock:
            self._seconds[stage] += seconds


_CHUNKS_AHEAD = 2
_SUMMED_UP = 64
"""Scores that become rows at a time: one by one, their means would take longer than the rest."""


def annotate(
    task: ShardTask,
    scorer: ImageScorer,
    output: str,
    decoder: Decoder = TWO_THREADS,
    turn: Lock | None = None,
    meter: Meter | None = None,
    measures: Sequence[Measure] = (),
    picture_timeout: float = PICTURE_SECONDS,
    lease: Lease | None = None,
) -> ShardReport:
    """Score all images of a shard and commit its annotation below `output`, embeddings before it.

    A batch of crops never spans two shards, so a shard's scores don't depend on its neighbours.
    Calls that share a `turn` score one after the other: while one does, others open their shard and
    decode its first images, or commit. A `meter` counts samples that were read and images that were
    scored, and records their position in the tar. An image that takes longer to decode than
    `picture_timeout`, in seconds of processor time, gets no score. Nothing is committed once the
    `lease` of the output is lost.

    Raises:
        ShardError: if the shard can't be read to its end or its file can't be written.
        MemoryError: if memory is short, for which the shard isn't to blame.
    """
    started = perf_counter()
    try:
        identity = identify_shard(task)
    except OSError as error:
        raise ShardError(task.shard, f"can't be found: {error.strerror or error}") from error
    clock = StageClock()
    contents = contents_by(scorer, measures)
    encoder = AnnotationEncoder(identity, contents, _towers(scorer, measures))
    meter = meter or Meter()
    with meter.shard(task.shard, identity.size) as own:
        passed_over, further = _score_rows(
            task,
            scorer,
            decoder,
            clock,
            encoder,
            measures,
            picture_timeout,
            turn or Lock(),
            meter,
            own,
            identity.size,
        )
    try:
        with clock.measure("write"):
            encoded = encoder.finish(passed_over)
            _commit(output, task.annotation, encoded, lease.guard if lease else no_guard)
    except (OSError, OutputError) as error:
        problem = f"annotation can't be written: {reason(error)}"
        raise ShardError(task.shard, problem, may_pass=True) from error
    seconds = perf_counter() - started - clock.seconds["turn"]
    stages = _stages(clock, seconds, decoder.workers)
    return replace(encoded.report, seconds=seconds, stages=stages, further=further)


def contents_by(scorer: ImageScorer, measures: Sequence[Measure] = ()) -> Contents:
    """Describe annotations by a scorer, and by measures of the pictures. Raises ConfigError."""
    towers = _towers(scorer, measures)
    scored = scorer.config, scorer.fingerprint, scorer.attributes
    return contents_of(*scored, embeddings=[*towers], measures=measures)


def _towers(scorer: ImageScorer, measures: Sequence[Measure]) -> dict[str, Tower]:
    """Return the towers whose embeddings are written, by name."""
    towers = {m.name: m.tower for m in measures if m.tower and m.keeps_embeddings}
    if values := scorer.embedding_values:
        towers[MACLIP] = Tower(values=values, digest=scorer.fingerprint, meaning=_MACLIP_MEANING)
    return towers


def _commit(output: str, name: str, encoded: Encoded, guard: Guard) -> None:
    """Commit the files of a shard, the annotation last, which marks the shard as done."""
    annotation = join(output, name)
    if encoded.embeddings and not _is_beside(annotation, encoded.embeddings):
        guard()
        delete(annotation)  # the old annotation must not be left with new embeddings
    for tower, embeddings in encoded.embeddings.items():
        commit(join(output, embeddings_name(name, tower)), embeddings.data, guard)
    commit(annotation, encoded.annotation, guard)


def _is_beside(annotation: str, embeddings: Mapping[str, EmbeddingsFile]) -> bool:
    """Return whether an annotation exists and names exactly these embeddings."""
    try:
        told = read_footer(annotation).embeddings
        return told == {tower: file.identity for tower, file in embeddings.items()}
    except AnnotationError:
        return False


def _stages(clock: StageClock, seconds: float, decoders: int) -> dict[str, StageSeconds]:
    """Return how long each stage was busy, and how long it waited for the others."""
    busy = {"read": 0.0, "decode": 0.0, "score": 0.0, "write": 0.0} | clock.seconds
    del busy["turn"]
    wait_for_images = busy.pop("wait", 0.0)
    busy["score"] -= wait_for_images  # the scorer's time includes waiting for images
    workers = dict.fromkeys(busy, 1) | {"decode": decoders}
    return {
        stage: StageSeconds(busy=own, waiting=max(0.0, workers[stage] * seconds - own))
        for stage, own in busy.items()
    }


def _score_rows(
    task: ShardTask,
    scorer: ImageScorer,
    decoder: Decoder,
    clock: StageClock,
    encoder: AnnotationEncoder,
    measures: Sequence[Measure],
    picture_timeout: float,
    turn: Lock,
    meter: Meter,
    own: ShardMeter,
    size: int,
) -> tuple[Counter[str], Sequence[str]]:
    """Encode a row for every sample; count images without a row, and name some of them."""
    rows = OpenRows(encoder, measures)
    preparers = tuple(measure.preparer for measure in measures if not measure.source)
    wanted = Wanted(scorer.config.max_pixels, preparers, picture_timeout)
    captions = {measure.caption for measure in measures if "text" in measure.needs}
    passed_over = Counter[str]()
    further = list[str]()
    samples = 0

    def read() -> Iterator[list[Sample]]:
        nonlocal samples
        stream = read_samples(task, passed_over, size, captions=captions)
        chunks = clock.iterate("read", in_chunks(meter.passing(stream)))
        for chunk in prefetch(chunks, _CHUNKS_AHEAD):
            samples += len(chunk)
            if len(further) < EXAMPLES:
                further.extend(name for sample in chunk for name in sample.further)
            yield chunk

    def images() -> Generator[RgbImage]:
        decoded = decode_in_order(decoder, read(), wanted)
        for chunk, (pictures, prepared, seconds) in clock.iterate("wait", decoded):
            clock.add("decode", seconds)
            rows.add(chunk, pictures, prepared)
            _count_begun(chunk, pictures, own)
            yield from (picture for picture in pictures if not isinstance(picture, ImageError))

    with closing(images()) as stream:  # stops the threads on an error
        with clock.measure("score"):
            all_images = chain(iter(list(islice(stream, 1))), stream)  # wait for the first image
        with clock.measure("turn"):
            turn.acquire()
        try:
            with clock.measure("score"):
                scores = own.ending(scorer.score(all_images))
                while some := list(islice(scores, _SUMMED_UP)):
                    rows.set_scores(some)
        finally:
            turn.release()
    rows.close()
    passed_over[PassedOver.NO_TEXTS] += rows.not_texts
    assert encoder.rows == samples, "a row for every sample"
    return passed_over, further[:EXAMPLES]


def _count_begun(samples: Sequence[Sample], pictures: Sequence[Picture], own: ShardMeter) -> None:
    """Record the ends of images in the shard, for whole chunks, which is faster than one by one."""
    ends: list[float] = []
    reached = 0
    for sample, picture in zip(samples, pictures, strict=True):
        reached = sample.reached or reached
        if not isinstance(picture, ImageError):
            ends.append(reached)
    own.add_errors(len(samples) - len(ends))
    own.begin(ends)
