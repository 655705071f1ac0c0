"""Hashes are those that others give: hashlib of the file, and PyPI's imagehash of the picture."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from shardsift.images.decode import decode_rgb
from shardsift.images.decoder import ThreadDecoder, Wanted
from shardsift.images.hashes import Hashes, perceptual_hash
from shardsift.images.pool import DecodePool
from shardsift.measures import Picture
from shardsift.records import RgbImage
from shardsift.shards.tar_samples import read_tar
from tests.samples import encoded

PHOTOS = Path(__file__).parents[4] / "shared" / "data" / "photos"
WANTED = Wanted(10**8, (Hashes(["phash", "sha256"]),))


def by_imagehash(picture: RgbImage) -> int:
    return int(str(imagehash.phash(Image.fromarray(picture))), 16)


@given(
    arrays.arrays(
        np.uint8, st.tuples(st.integers(1, 300), st.integers(1, 300), st.just(3)), fill=st.just(7)
    )
)
@settings(max_examples=100, deadline=None)
def test_any_picture_has_the_hash_that_imagehash_gives(picture: RgbImage) -> None:
    assert perceptual_hash(picture) == by_imagehash(picture)


@pytest.mark.parametrize("grey", [0, 1, 17, 128, 255])
def test_so_has_a_blank_one_whose_frequencies_are_rounding_errors(grey: int) -> None:
    picture = np.full((50, 70, 3), grey, np.uint8)
    assert perceptual_hash(picture) == by_imagehash(picture)


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the shared photographs are not here")
def test_so_have_photographs() -> None:
    shard = min(PHOTOS.rglob("*.tar"))
    files = [s.image.data for s in read_tar(str(shard), shard.name) if s.image]
    for data in files[:50]:
        assert data is not None
        assert perceptual_hash(decode_rgb(data, 10**8)) == by_imagehash(decode_rgb(data, 10**8))
        with Image.open(io.BytesIO(data)) as image:  # none of them is turned by its EXIF block
            assert perceptual_hash(decode_rgb(data, 10**8)) == int(str(imagehash.phash(image)), 16)


def test_only_what_is_asked_for_is_made() -> None:
    data = encoded()
    picture = decode_rgb(data, 10**6)
    sha256 = hashlib.sha256(data).digest()
    assert Hashes(["sha256"]).prepare(Picture(data, picture)) == sha256
    assert Hashes(["phash"]).prepare(Picture(data, picture)) == perceptual_hash(picture)
    assert Hashes(["sha256", "phash"]).prepare(Picture(data, None)) == (None, sha256)


def test_processes_and_threads_hash_alike_and_a_broken_file_has_its_sha256() -> None:
    files = [encoded(seed=1), encoded(seed=2)[:100], encoded(seed=3)]
    threads = ThreadDecoder().decode(files, WANTED)
    with DecodePool(1) as pool:
        processes = pool.decode(files, WANTED)
    assert threads.prepared == processes.prepared
    found = [own[0] for own in threads.prepared]
    assert [sha256 for _, sha256 in found] == [hashlib.sha256(f).digest() for f in files]
    assert [phash is None for phash, _ in found] == [False, True, False]
