"""One shard to one Parquet: the core loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING

from shardsift.annotations.clock import StageClock
from shardsift.annotations.encoder import AnnotationEncoder
from shardsift.annotations.parquet import ROW_GROUP_ROWS
from shardsift.errors import ErrorCode, ImageError, ShardError
from shardsift.records import (
    Annotation,
    ImageFile,
    ImageScore,
    RgbImage,
    Sample,
    ShardReport,
    ShardTask,
    StageSeconds,
)
from shardsift.redaction import reason
from shardsift.shards.images import decode_rgb
from shardsift.shards.samples import SUPPORTED_EXTENSIONS, read_samples
from shardsift.storage.files import commit, identify, join
from shardsift.threads import map_ordered, prefetch

if TYPE_CHECKING:  # what annotates needs no torch; what scores does
    from shardsift.scoring.scorer import ImageScorer

_SAMPLES_AHEAD = 8


def annotate(
    task: ShardTask, scorer: ImageScorer, output: str, decode_threads: int = 2
) -> ShardReport:
    """Score all images of a shard and commit its annotation file below `output`.

    A batch of crops never spans two shards, so a shard's scores don't depend on its neighbours.

    Raises:
        ShardError: if the shard can't be read to its end or its file can't be written.
    """
    started = perf_counter()
    try:
        identity = identify(task.url, task.shard)
    except OSError as error:
        raise ShardError(task.shard, f"can't be found: {error.strerror or error}") from error
    clock = StageClock()
    config = scorer.config.model_dump(mode="json")
    encoder = AnnotationEncoder(identity, scorer.fingerprint, config)
    unscored_images = _score_rows(task, scorer, decode_threads, clock, encoder)
    try:
        with clock.measure("write"):
            data, report = encoder.finish(unscored_images)
            commit(join(output, task.annotation), data)
    except OSError as error:
        raise ShardError(task.shard, f"annotation can't be written: {reason(error)}") from error
    seconds = perf_counter() - started
    return replace(report, seconds=seconds, stages=_stages(clock, seconds, decode_threads))


def _stages(clock: StageClock, seconds: float, decode_threads: int) -> dict[str, StageSeconds]:
    """Tell how long each stage was busy, and how long it waited for the others."""
    busy = {"read": 0.0, "decode": 0.0, "score": 0.0, "write": 0.0} | clock.seconds
    wait_for_images = busy.pop("wait", 0.0)
    busy["score"] -= wait_for_images  # the scorer draws the images that it waits for
    threads = dict.fromkeys(busy, 1) | {"decode": decode_threads}
    return {
        stage: StageSeconds(busy=own, waiting=threads[stage] * seconds - own)
        for stage, own in busy.items()
    }


def _score_rows(
    task: ShardTask,
    scorer: ImageScorer,
    decode_threads: int,
    clock: StageClock,
    encoder: AnnotationEncoder,
) -> int:
    """Encode a row for every sample; return the number of further images that they held."""
    rows = _OpenRows(encoder)
    samples = further_images = 0

    def read() -> Iterator[Sample]:
        nonlocal samples, further_images
        stream = clock.iterate("read", read_samples(task.url, task.shard))
        for sample in prefetch(stream, _SAMPLES_AHEAD):
            samples += 1
            further_images += sample.unscored_images
            yield sample

    def decode(sample: Sample) -> tuple[Annotation, RgbImage | None]:
        with clock.measure("decode"):
            return decode_sample(sample, scorer.config.max_pixels)

    def images() -> Generator[RgbImage]:
        decoded = map_ordered(decode, read(), decode_threads)
        for row, image in clock.iterate("wait", decoded):
            rows.add(row, waits=image is not None)
            if image is not None:
                yield image

    with closing(images()) as stream:  # ends the threads if the scorer raises
        for score in clock.iterate("score", scorer.score(stream)):
            rows.set_score(score)
    rows.close()
    assert encoder.rows == samples, "a row for every sample"
    return further_images


class _OpenRows:
    """Rows in shard order, of which the last ones wait for their scores.

    Those before them go to the encoder as soon as they fill a row group.
    """

    def __init__(self, encoder: AnnotationEncoder) -> None:
        self._encoder = encoder
        self._rows: list[Annotation] = []
        self._waiting: deque[Annotation] = deque()

    def add(self, row: Annotation, *, waits: bool) -> None:
        """Take in the next row."""
        assert row.index == self._encoder.rows + len(self._rows), "samples come in order"
        self._rows.append(row)
        if waits:
            self._waiting.append(row)
        self._pass_on()

    def set_score(self, score: ImageScore) -> None:
        """Score the first row that waits."""
        self._waiting.popleft().set_score(score)
        self._pass_on()

    def close(self) -> None:
        """Encode what is left."""
        assert not self._waiting, "the scorer gave fewer scores than it took images"
        if self._rows:
            self._encoder.add(self._rows)

    def _pass_on(self) -> None:
        ready = self._waiting[0].index - self._encoder.rows if self._waiting else len(self._rows)
        if ready >= ROW_GROUP_ROWS:
            self._encoder.add(self._rows[:ROW_GROUP_ROWS])
            del self._rows[:ROW_GROUP_ROWS]


def decode_sample(sample: Sample, max_pixels: int) -> tuple[Annotation, RgbImage | None]:
    """Make a sample's row, and decode its image unless the row carries an error."""
    row = Annotation(key=sample.key, index=sample.index, uid=sample.uid)
    if sample.image is None:
        row.set_error(ErrorCode.MISSING_IMAGE, "none of the sample's files is an image")
        return row, None
    row.image_ext = sample.image.extension
    row.tar_offset = sample.image.offset
    row.tar_size = sample.image.size
    try:
        image = decode_rgb(_loaded(sample.image), max_pixels)
    except ImageError as error:
        row.set_error(error.code, str(error))
        return row, None
    row.height, row.width = image.shape[:2]
    return row, image


def _loaded(image: ImageFile) -> bytes:
    if image.data is not None:
        return image.data
    if image.extension.rpartition(".")[2] in SUPPORTED_EXTENSIONS:
        raise ImageError(ErrorCode.TOO_LARGE, f"a file of {image.size} bytes is not loaded")
    raise ImageError(ErrorCode.UNSUPPORTED_FORMAT, f".{image.extension} can't be decoded")
