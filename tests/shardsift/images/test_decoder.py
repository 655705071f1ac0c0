"""Images are decoded some at a time, by threads or processes, and come out alike and in order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest
from PIL import Image

from shardsift.errors import ErrorCode, ImageError
from shardsift.images.decode import decode_rgb
from shardsift.images.decoder import (
    CHUNK_BYTES,
    ROOM_BYTES,
    Decoder,
    Picture,
    ThreadDecoder,
    Wanted,
    decode_in_order,
    decode_until_full,
    in_chunks,
)
from shardsift.images.pool import DecodePool
from shardsift.records import ImageFile, Sample
from tests.samples import encoded, saved
from tests.shardsift.images.test_decode import png_header

MAX_PIXELS = 30_000_000


@pytest.fixture(params=["threads", "processes"], scope="module")
def decoder(request: pytest.FixtureRequest) -> Iterator[Decoder]:
    with closing(ThreadDecoder(2) if request.param == "threads" else DecodePool(2)) as decoder:
        yield decoder


def sample(index: int, data: bytes | None, extension: str = "jpg", size: int = 1) -> Sample:
    image = ImageFile(extension=extension, data=data, offset=0, size=size)
    return Sample(key=str(index), index=index, image=image)


def told(picture: Picture) -> tuple[ErrorCode, str] | list[int]:
    """Error and message, or a picture's pixels."""
    if isinstance(picture, ImageError):
        return picture.code, str(picture)
    return picture.tolist()


def told_of(data: bytes) -> tuple[ErrorCode, str] | list[int]:
    """Decode a file by `decode_rgb`."""
    try:
        return told(decode_rgb(data, MAX_PIXELS))
    except ImageError as error:
        return told(error)


def test_every_file_becomes_what_decode_rgb_makes_of_it(decoder: Decoder) -> None:
    good = [encoded(kind, 40 + n, 30) for n, kind in enumerate(["JPEG", "PNG", "WEBP", "GIF"])]
    files = [*good, b"", b"just words", good[0][:300], png_header(30_000, 30_000), *good[::-1]] * 3
    samples = [sample(n, data) for n, data in enumerate(files)]
    found = list(decode_in_order(decoder, in_chunks(samples), Wanted(MAX_PIXELS)))
    assert [each for chunk, _ in found for each in chunk] == samples
    pictures = [told(picture) for _, decoded in found for picture in decoded.pictures]
    assert pictures == [told_of(data) for data in files]
    assert all(decoded.seconds > 0 for _, decoded in found)


def test_threads_notice_afterwards_that_a_picture_took_too_long() -> None:
    [(picture, _)] = decode_until_full([encoded()], Wanted(MAX_PIXELS, seconds=0))
    assert isinstance(picture, ImageError)
    assert picture.code == "too_slow"


def test_a_sample_without_a_file_to_decode_says_why(decoder: Decoder) -> None:
    problem = ImageError(ErrorCode.MISSING_IMAGE, "none of the sample's files is an image")
    samples = [Sample(key="text", index=0, problem=problem), sample(1, encoded())]
    [(_, decoded)] = decode_in_order(decoder, [samples], Wanted(MAX_PIXELS))
    assert [told(picture) for picture in decoded.pictures] == [told(problem), told_of(encoded())]


def test_large_images_come_one_by_one_and_small_ones_follow(decoder: Decoder) -> None:
    """So that a chunk of images that compress well can't fill the memory."""
    large = saved(Image.new("RGB", (5000, 3400), "teal"))
    samples = [sample(n, data) for n, data in enumerate([large, large, encoded(), encoded()])]
    assert ROOM_BYTES < 5000 * 3400 * 3
    found = list(decode_in_order(decoder, [samples], Wanted(MAX_PIXELS)))
    assert [[each.index for each in chunk] for chunk, _ in found] == [[0], [1], [2, 3]]
    for _, decoded in found[:2]:
        [picture] = decoded.pictures
        assert isinstance(picture, np.ndarray)
        assert picture.shape == (3400, 5000, 3)
        assert (picture == [0, 128, 128]).all()


def test_a_chunk_ends_at_16_samples_or_2_mib() -> None:
    small = [sample(n, b"x") for n in range(40)]
    assert [len(chunk) for chunk in in_chunks(small)] == [16, 16, 8]
    large = [sample(n, bytes(CHUNK_BYTES // 2)) for n in range(5)]
    assert [len(chunk) for chunk in in_chunks(large)] == [2, 2, 1]
    assert list(in_chunks([])) == []
