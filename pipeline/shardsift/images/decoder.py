"""Image files to RGB, several at a time: in threads of this process, or in other processes.

A decoder takes a chunk of files. It may stop before the end if decoded images fill its buffer,
which bounds the memory for large images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter, thread_time
from typing import Any, NamedTuple, Protocol

from shardsift.config import PICTURE_SECONDS
from shardsift.errors import ErrorCode, ImageError
from shardsift.images.decode import decode_rgb
from shardsift.measures import Picture as Measurable
from shardsift.measures import Preparer
from shardsift.records import RgbImage, Sample
from shardsift.threads import map_ordered

CHUNK_FILES = 16
CHUNK_BYTES = 2 << 20
"""Bytes of image files at which a chunk ends."""

ROOM_BYTES = 48 << 20
"""Bytes of decoded images after which a decoder pauses: 16 images of a megapixel."""

Unloaded = ImageError
"""Error of a file that was not loaded."""

Picture = RgbImage | ImageError


Prepared = tuple[Any, ...]
"""Results of each measure's `prepare`; None if it was not asked."""


class Decoded(NamedTuple):
    """Results of the first files of a chunk, one at least, and the seconds that they took."""

    pictures: list[Picture]
    prepared: list[Prepared]
    seconds: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """Settings of decoding: images of more pixels are refused, and these measures are asked.

    An image that takes more than `seconds` of processor time is refused, too.
    """

    max_pixels: int
    measures: tuple[Preparer, ...] = ()
    seconds: float = PICTURE_SECONDS

    def prepare(self, file: bytes | memoryview, picture: Picture) -> Prepared:
        """Run `prepare` of all measures that can use the picture."""
        if not self.measures:
            return ()
        pixels = None if isinstance(picture, ImageError) else picture
        about = Measurable(file, pixels)
        return tuple(
            each.prepare(about) if pixels is not None or "file" in each.needs else None
            for each in self.measures
        )

    def unprepared(self) -> Prepared:
        """Return what measures have of a picture whose file wasn't loaded."""
        return (None,) * len(self.measures)

    def too_slow(self) -> ImageError:
        """Return the error of an image that took too long."""
        message = f"takes over {self.seconds:g} s of processor time"
        return ImageError(ErrorCode.TOO_SLOW, message)


class Decoder(Protocol):
    """A decoder; threads may share it, and `workers` of them keep it busy.

    Raises MemoryError if memory is short, for which no image is to blame.
    """

    @property
    def workers(self) -> int:
        """Number of chunks that are decoded at a time."""
        ...

    def decode(self, files: Sequence[bytes | Unloaded], wanted: Wanted) -> Decoded:
        """Decode the first of these files, as `decode_rgb` does; errors stay in their places."""
        ...

    def close(self) -> None:
        """End its threads or processes."""
        ...


@dataclass(frozen=True, slots=True)
class ThreadDecoder:
    """Decodes in the threads that ask."""

    workers: int = 2

    def decode(self, files: Sequence[bytes | Unloaded], wanted: Wanted) -> Decoded:
        """Decode files until their images fill the room."""
        began = perf_counter()
        pictures, prepared = zip(*decode_until_full(files, wanted), strict=True)
        return Decoded(list(pictures), list(prepared), perf_counter() - began)

    def close(self) -> None:
        """Do nothing: the threads are their owner's."""


TWO_THREADS = ThreadDecoder()


def in_chunks(samples: Iterable[Sample]) -> Iterator[list[Sample]]:
    """Gather samples to chunks for a decoder."""
    chunk: list[Sample] = []
    size = 0
    for sample in samples:
        chunk.append(sample)
        size += len(sample.image.data or b"") if sample.image else 0
        size += len(sample.json or b"")
        if len(chunk) == CHUNK_FILES or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def decode_in_order(
    decoder: Decoder, chunks: Iterable[list[Sample]], wanted: Wanted
) -> Iterator[tuple[list[Sample], Decoded]]:
    """Decode chunks, as many at a time as the decoder can; yield samples with their pictures."""

    def decode(chunk: list[Sample]) -> tuple[list[Sample], Decoded]:
        decoded = decoder.decode([_file_of(sample) for sample in chunk], wanted)
        return chunk, decoded

    for chunk, decoded in map_ordered(decode, chunks, decoder.workers):
        yield chunk[: len(decoded.pictures)], decoded
        rest = chunk[len(decoded.pictures) :]
        while rest:
            _, decoded = decode(rest)
            yield rest[: len(decoded.pictures)], decoded
            rest = rest[len(decoded.pictures) :]


def decode_until_full(
    files: Iterable[bytes | Unloaded | memoryview], wanted: Wanted
) -> Iterator[tuple[Picture, Prepared]]:
    """Yield an image or its error for each file, and what measures have prepared of it, until the
    images fill the room."""
    room = ROOM_BYTES
    for file in files:
        if isinstance(file, ImageError):
            yield file, wanted.unprepared()
            continue
        began = thread_time()
        picture = decode_or_error(file, wanted.max_pixels)
        if thread_time() - began > wanted.seconds:
            picture = wanted.too_slow()
        yield picture, wanted.prepare(file, picture)
        room -= 0 if isinstance(picture, ImageError) else picture.nbytes
        if room <= 0:
            return


def decode_or_error(file: bytes | memoryview, max_pixels: int) -> Picture:
    """Decode a file; an error is returned and not raised."""
    try:
        return decode_rgb(bytes(file), max_pixels)
    except ImageError as error:
        # without the traceback, which would keep the file in memory
        return ImageError(error.code, str(error))


def _file_of(sample: Sample) -> bytes | Unloaded:
    """Return a sample's image file, or why there is none to decode."""
    if sample.problem:
        return sample.problem
    data = sample.image and sample.image.data
    assert data is not None, "there is an image, or a problem"
    return data
