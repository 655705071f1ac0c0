"""Hashes of images: of a file's bytes, and of its picture."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from shardsift.columns import Column, named
from shardsift.config import HashName
from shardsift.measures import Measure, Picture
from shardsift.records import RgbImage

_SIDE = 32
_LOWEST = 8


class Hashes(Measure):
    """Hashes of an image: `sha256` of its file, `phash` of its picture."""

    name = "hashes"

    def __init__(self, names: Iterable[HashName]) -> None:
        self._names = sorted({*names})
        self.columns: Sequence[Column] = named(*self._names)
        self.needs: Sequence[str] = ("file", "pixels") if "phash" in self._names else ("file",)

    @property
    def settings(self) -> Sequence[str]:
        """The hashes that are made."""
        return self._names

    def prepare(self, picture: Picture) -> Any:
        """Hash the file, and the picture if it can be decoded."""
        found = [_hash(name, picture) for name in self._names]
        return tuple(found) if len(found) > 1 else found[0]


def _hash(name: str, picture: Picture) -> bytes | int | None:
    if name == "sha256":
        return hashlib.sha256(picture.file).digest()
    return None if picture.pixels is None else perceptual_hash(picture.pixels)


def perceptual_hash(picture: RgbImage) -> int:
    """Hash a picture to 64 bits; copies of another size and quality share most of them.

    As `imagehash.phash` does it, to the bit: which of the 8x8 lowest frequencies of the grey
    picture, made 32x32, are above their median; row by row, the first one is the highest bit.
    """
    # Other transforms of scipy round differently, and frequencies near 0 would change their bits.
    # Imported here: it takes 0.2 s, which processes without hashes save.
    from scipy.fftpack import dct

    grey = Image.fromarray(picture).convert("L")
    small = np.asarray(grey.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS))
    frequencies: Any = dct(dct(small, axis=0), axis=1)
    lowest = frequencies[:_LOWEST, :_LOWEST]
    return int.from_bytes(np.packbits(lowest > np.median(lowest)).tobytes(), "big")
