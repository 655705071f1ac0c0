"""A scorer for tests of everything around it: fast, exact, and without a model."""

from __future__ import annotations

import os
import resource
import signal
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np

from shardsift.config import Attributes, RunConfig, ScoreConfig
from shardsift.images.slabs import Bytes, Unpin, leave
from shardsift.records import CropScores, ImageScore, RgbImage


class FakeScorer:
    """Gives each image its mean grey level, 0..1, as the quality of two crops."""

    config: ScoreConfig = ScoreConfig(model="compact", max_pixels=1 << 20)
    fingerprint: str = "fake-scorer"
    attributes: Attributes = MappingProxyType({})
    embedding_values: int = 0

    def score(self, images: Iterable[RgbImage]) -> Iterator[ImageScore]:
        """Yield the scores in order, one image late, as a scorer that fills batches does."""
        held: RgbImage | None = None
        for image in images:
            if held is not None:
                yield fake_score(held, len(self.attributes), self.embedding_values)
            held = image
        if held is not None:
            yield fake_score(held, len(self.attributes), self.embedding_values)

    def pin(self, memory: Bytes) -> Unpin:
        """Do nothing: no GPU copies from the memory."""
        return leave(memory)


def fake_score(image: RgbImage, attributes: int = 0, embedding_values: int = 0) -> ImageScore:
    """Make the score that `FakeScorer` gives an image.

    Of attributes the first is 1 - quality, and so on; of an embedding 1 + quality, 2 + quality.
    """
    grey = np.float32(image.mean() / 255)
    crops = np.array([grey, grey / 2], np.float32)
    answers = [(1 - crops) / (place + 1) for place in range(attributes)]
    return ImageScore(
        per_crop=CropScores(
            quality=crops,
            q_sim=crops,
            q_mag=crops,
            w_sim=crops,
            attributes=np.array(answers, np.float32).reshape(attributes, 2),
        ),
        embedding=(1 + np.arange(embedding_values) + grey).astype(np.float16),
    )


@dataclass(frozen=True)
class FakeModel:
    """A `LoadedModel` whose scorers are fakes."""

    fingerprint: str

    def scorer(self, config: RunConfig, device: str) -> FakeScorer:
        """Make a scorer of the model's fingerprint."""
        scorer = FakeScorer()
        scorer.config, scorer.fingerprint = config.scoring(), self.fingerprint
        scorer.attributes = config.asked_of("maclip")
        scorer.embedding_values = 4 if "maclip" in config.embeddings else 0
        return scorer


def load_fake(config: RunConfig) -> FakeModel:
    """A `LoadModel`; its fingerprint follows λ, so that tests can change configurations."""
    return FakeModel(f"fake-{config.box_cox_lambda:g}")


class SlowScorer(FakeScorer):
    """Takes its time, so that something can happen meanwhile."""

    def score(self, images: Iterable[RgbImage]) -> Iterator[ImageScore]:
        """Yield the fake scores, a quarter of a second apart."""
        for image in images:
            time.sleep(0.25)
            yield fake_score(image)


Harm = Literal["die", "raise", "hang", "exhaust", "none"]

TRAP_WIDTH = 666
"""An image of this width springs the trap of a `TrappedScorer`."""


@dataclass
class TrappedScorer(FakeScorer):
    """Does harm when it meets an image of `TRAP_WIDTH`, until it has done so `times` times.

    Counts in files, because a process that dies forgets.
    """

    folder: Path
    harm: Harm
    times: int = 1_000_000

    def score(self, images: Iterable[RgbImage]) -> Iterator[ImageScore]:
        """Yield the fake scores, or do harm."""
        for image in images:
            if (
                image.shape[1] == TRAP_WIDTH
                and len(list(self.folder.glob("sprung-*"))) < self.times
            ):
                (self.folder / f"sprung-{uuid.uuid4().hex}").touch()
                self._harm()
            yield fake_score(image)

    def _harm(self) -> None:
        if self.harm == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.harm == "raise":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        elif self.harm == "hang":
            time.sleep(600)
        elif self.harm == "exhaust":
            # A limit for this process, so that the machine's memory isn't exhausted.
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), used + (64 << 20)))
            bytearray(1 << 30)


def fail_to_start(harm: Harm) -> FakeScorer:
    """In place of a scorer that can't be made where it is asked for."""
    if harm == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    raise ValueError("these weights are broken")


class NotFinite(FakeScorer):
    """A scorer whose model gives no finite values."""

    def score(self, images: Iterable[RgbImage]) -> Iterator[ImageScore]:
        """Yield scores that are none."""
        nothing = np.full(2, np.nan, np.float32)
        for _ in images:
            crops = CropScores(quality=nothing, q_sim=nothing, q_mag=nothing, w_sim=nothing)
            yield ImageScore(per_crop=crops)
