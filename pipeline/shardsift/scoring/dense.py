"""Plan `dense` for many pictures: what has one size goes through the encoder together.

A picture is its blocks of patches and its whole view. Blocks have few sizes, for they are made of
patches, so pictures of many shapes meet in one. The encoder gets as many of a size as it always
gets, with blank ones in place of those that are missing: kernels round by the size of their batch,
and a score must not depend on the company.

Shapes in names: B blocks of one size, H x W their pixels, S = 224, M patches and the whole view,
V values of each, D of the features that are kept.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shardsift.records import Embedding
from shardsift.scoring.batch import Fetch, Scores
from shardsift.scoring.crops import CROP_SIZE, patch_blocks, patch_grid
from shardsift.scoring.encoder import Encoder

_MOST_OPEN = 1024
_MOST_BYTES = 256 << 20
"""Pictures, and their pixels, that may wait for others; then blocks go without further company."""


@dataclass(slots=True, eq=False)
class _Picture:
    scores_VM: Scores
    size: int
    embedding_D: Embedding = field(default_factory=lambda: np.empty(0, np.float16))
    missing: int = 0
    """Blocks that have no scores yet."""

    def take(self, places: npt.NDArray[np.int64], scores_VN: Scores, last_D: Embedding) -> None:
        """Take in the scores of a block, and the feature of its last patch or the whole view."""
        self.scores_VM[:, places] = scores_VN
        self.missing -= 1
        if places[-1] == self.scores_VM.shape[1] - 1:
            self.embedding_D = last_D.copy()


class _Block(NamedTuple):
    picture: _Picture
    places: npt.NDArray[np.int64]
    pixels_HW3: Tensor


class DenseQueue:
    """Gathers blocks of pictures by size, and gives pictures their scores, in order."""

    def __init__(
        self, encoder: Encoder, score: Callable[[Tensor], Fetch], values: int, crops: int
    ) -> None:
        """Begin with no pictures.

        Args:
            encoder: made with crop plan `dense`.
            score: starts to score features; what it returns waits for the scores.
            values: V.
            crops: how many have as many pixels as the encoder takes at a time; with 1 every block
                goes alone.
        """
        self._encoder = encoder
        self._score = score
        self._values = values
        self._pixels = crops * CROP_SIZE**2
        self._waiting: defaultdict[tuple[int, int], list[_Block]] = defaultdict(list)
        self._open: deque[_Picture] = deque()
        self._held = 0
        self._started: deque[tuple[list[_Block], Fetch]] = deque()

    def add(self, image_HW3: Tensor, whole_SS3: Tensor) -> None:
        """Take in a picture and its whole view, values 0..255."""
        rows, columns = patch_grid(*image_HW3.shape[:2])
        numbers = np.arange(rows * columns).reshape(rows, columns)
        picture = _Picture(
            np.empty((self._values, rows * columns + 1), np.float32), image_HW3.numel()
        )
        self._open.append(picture)
        self._held += picture.size
        for block in patch_blocks(rows, columns):
            self._put(_Block(picture, numbers[block.places].ravel(), image_HW3[block.pixels]))
        self._put(_Block(picture, np.array([rows * columns]), whole_SS3))
        if len(self._open) > _MOST_OPEN or self._held > _MOST_BYTES:
            self.flush()

    def flush(self) -> None:
        """Encode what still waits for company."""
        for size, blocks in self._waiting.items():
            if blocks:
                self._start(size, blocks)
        self._waiting.clear()

    def done(self, *, running: int) -> Iterator[tuple[Scores, Embedding]]:
        """Yield scores and embedding of the next pictures that have all; leave calls running."""
        while len(self._started) > running:
            blocks, fetch = self._started.popleft()
            scores_VN, features_ND = fetch()
            end = 0
            for block in blocks:
                begin, end = end, end + len(block.places)
                block.picture.take(block.places, scores_VN[:, begin:end], features_ND[end - 1])
        while self._open and not self._open[0].missing:
            picture = self._open.popleft()
            self._held -= picture.size
            yield picture.scores_VM, picture.embedding_D

    def _put(self, block: _Block) -> None:
        block.picture.missing += 1
        height, width = block.pixels_HW3.shape[:2]
        blocks = self._waiting[height, width]
        blocks.append(block)
        if len(blocks) == self._at_a_time(height, width):
            self._start((height, width), blocks)
            self._waiting[height, width] = []

    def _at_a_time(self, height: int, width: int) -> int:
        return max(1, self._pixels // (height * width))

    def _start(self, size: tuple[int, int], blocks: list[_Block]) -> None:
        pixels_BHW3 = torch.zeros((self._at_a_time(*size), *size, 3), device=self._encoder.device)
        for place_HW3, block in zip(pixels_BHW3, blocks, strict=False):
            place_HW3.copy_(block.pixels_HW3)
        features_BND = self._encoder.encode_blocks(pixels_BHW3)
        self._started.append((blocks, self._score(features_BND.flatten(0, 1))))
