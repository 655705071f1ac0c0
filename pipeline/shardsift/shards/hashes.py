"""Hashes of images: of a file's bytes, and of what it shows."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from shardsift.config import HashName
from shardsift.records import RgbImage

_SIDE = 32
_LOWEST = 8


class Hashes(NamedTuple):
    """Of one image; None if it isn't asked for, or there is nothing to make it of."""

    sha256: bytes | None = None
    phash: int | None = None


def hash_image(
    file: bytes | memoryview, picture: RgbImage | None, wanted: Collection[HashName]
) -> Hashes:
    """Hash a file, and the picture that it was decoded to, if it was."""
    return Hashes(
        sha256=hashlib.sha256(file).digest() if "sha256" in wanted else None,
        phash=perceptual_hash(picture) if "phash" in wanted and picture is not None else None,
    )


def perceptual_hash(picture: RgbImage) -> int:
    """Hash what a picture shows to 64 bits, of which copies of other size and quality share most.

    As `imagehash.phash` does it, to the bit: which of the 8x8 lowest frequencies of the grey
    picture, made 32x32, are above their median; row by row, the first one is the highest bit.
    """
    # Only one of scipy's transforms gives these bits, also where frequencies are rounding errors.
    # It takes 0.2 s to import, which processes that hash nothing do without.
    from scipy.fftpack import dct

    grey = Image.fromarray(picture).convert("L")
    small = np.asarray(grey.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS))
    frequencies: Any = dct(dct(small, axis=0), axis=1)
    lowest = frequencies[:_LOWEST, :_LOWEST]
    return int.from_bytes(np.packbits(lowest > np.median(lowest)).tobytes(), "big")
