"""An actor whose model costs nothing: `python -m jobs.bench.feed_lap SHARD`, JSON out.

So it measures the work of a process for each picture, for which a GPU waits. Crops are packed on
the GPU; the operations that the process launches for it are counted.

Shapes in names: N crops, S = 224, P prompt pairs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from time import perf_counter, process_time, thread_time
from types import MappingProxyType
from typing import Annotated, Any
from unittest import mock

import numpy as np
import psutil
import torch
import typer
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from shardsift.annotations.annotate import OpenRows, annotate, contents_by
from shardsift.config import Attributes, CropPlan, ScoreConfig
from shardsift.images.decode import decode_rgb
from shardsift.images.decoder import in_chunks
from shardsift.images.pool import make_decoder
from shardsift.images.slabs import Bytes, Unpin, leave
from shardsift.outputs.annotation_encoder import AnnotationEncoder
from shardsift.records import CropScores, ImageScore, RgbImage, Sample, ShardIdentity, ShardTask
from shardsift.scoring import scorer as scorer_module
from shardsift.scoring.crops import count_crops
from shardsift.scoring.scorer import ImageScorer, Scorer
from shardsift.shards.tar_samples import read_tar

_SAMPLINGS = 100
"""Looks at the interpreter lock, a second."""

_HELD_IN_MEMORY = 300
"""Most pictures that are prepared for a single stage."""

_PACKED = 20
"""Pictures that are packed to count the operations."""


@dataclass(kw_only=True)
class FeedLap:
    """Cost of a picture in a process.

    Attributes:
        images_per_second: from tar to Parquet, all stages together.
        cpu: µs of CPU a picture, of this process and those it started.
        feeder: µs of CPU a picture, of the thread that feeds the model.
        locked: share of the time in which a thread held the interpreter lock; None if py-spy is
            missing or not permitted.
        alone: µs of CPU per picture of each stage, in one thread.
        operations: torch's operations a picture to cut and pack its crops.
    """

    images_per_second: float
    cpu: float
    feeder: float
    locked: float | None = None
    alone: dict[str, float] = field(default_factory=dict[str, float])
    operations: float = 0.0


class FreeScorer:
    """A scorer that computes nothing: as many crops as MA-CLIP has."""

    fingerprint = "free"
    attributes: Attributes = MappingProxyType({})
    embedding_values = 0

    def __init__(self, plan: CropPlan) -> None:
        self.config = ScoreConfig(crops=plan)

    def score(self, images: Iterable[RgbImage]) -> Iterator[ImageScore]:
        """Yield a score for each image, in order."""
        for image in images:
            height, width = image.shape[:2]
            ones = np.ones(count_crops(height, width, self.config.crops), np.float32)
            crops = CropScores(quality=ones, q_sim=ones, q_mag=ones, w_sim=ones)
            yield ImageScore(per_crop=crops)

    def pin(self, memory: Bytes) -> Unpin:
        """Do nothing: no GPU copies from the memory."""
        return leave(memory)


class FreeEncoder:
    """An encoder that computes nothing, for a scorer that packs batches."""

    digest = "free"
    crops_at_a_time = None
    logit_scale = 100.0
    device = torch.device("cpu")
    attributes: Attributes = MappingProxyType({})

    def __init__(self, config: ScoreConfig, device: str, model: None) -> None:
        """Make text features of two values, of unit length."""
        self.text_P2D = torch.eye(2).repeat(len(config.prompts), 1, 1)

    def encode(self, crops_N3SS: Tensor) -> Tensor:
        """Return features, shape (N, 2)."""
        return torch.ones(len(crops_N3SS), 2)

    def answers(self, features_ND: Tensor) -> list[Tensor]:
        """Answer nothing: nothing is asked."""
        return []


class OperationCounter(TorchDispatchMode):
    """Counts what torch would launch on a GPU; views launch nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        """Count an operation that doesn't only look at a tensor in another way."""
        self.operations += not func.is_view
        return func(*args, **kwargs or {})


def lap(
    shard: Annotated[str, typer.Argument(help="A tar.")],
    plan: Annotated[str, typer.Option(help="The crop plan.")] = "paper",
    workers: Annotated[int, typer.Option(help="What decodes at a time.")] = 2,
    seconds: Annotated[float, typer.Option(help="For how long.")] = 3.0,
) -> None:
    """Measure all stages together, and each alone."""
    torch.set_num_threads(1)
    scorer = FreeScorer(ScoreConfig.model_validate({"crops": plan}).crops)
    with closing(make_decoder(workers)) as decoder, tempfile.TemporaryDirectory() as folder:
        task = ShardTask(url=shard, shard=Path(shard).name, annotation="shard.parquet")

        def score() -> int:
            return annotate(task, scorer, folder, decoder).rows

        score()  # warm
        found = _together(score, seconds)
        found.locked = _share_of_lock(score, seconds)
        _alone(shard, scorer, found)
    sys.stdout.write(json.dumps(asdict(found)) + "\n")


def _together(score: Callable[[], int], seconds: float) -> FeedLap:
    images = 0
    began, cpu, feeder = perf_counter(), _cpu_seconds(), thread_time()
    while perf_counter() - began < seconds:
        images += score()
    per_image = 1e6 / images
    return FeedLap(
        images_per_second=images / (perf_counter() - began),
        cpu=(_cpu_seconds() - cpu) * per_image,
        feeder=(thread_time() - feeder) * per_image,
    )


def _cpu_seconds() -> float:
    """Return the CPU seconds of this process, and of those that it started and that run."""
    times = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return process_time() + sum(time.user + time.system for time in times)


def _share_of_lock(score: Callable[[], int], seconds: float) -> float | None:
    """Sample the process from outside while it works."""
    with tempfile.TemporaryDirectory() as folder:
        stacks = Path(folder, "stacks")
        options = ["--gil", "--nonblocking", "--format", "raw", "--rate", str(_SAMPLINGS)]
        place = ["--pid", str(os.getpid()), "--output", str(stacks)]
        try:
            spy = subprocess.Popen(
                ["py-spy", "record", *options, *place, "--duration", str(round(seconds))],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except FileNotFoundError:
            return None
        while spy.poll() is None:
            score()
        if spy.returncode or not stacks.is_file():
            return None
        counts = (int(line.rpartition(" ")[2]) for line in stacks.read_text().splitlines())
        return sum(counts) / (_SAMPLINGS * round(seconds))


def _alone(shard: str, scorer: ImageScorer, found: FeedLap) -> None:
    """Time each stage in this thread, with its inputs in memory."""
    samples = list(read_tar(shard))
    few = samples[:_HELD_IN_MEMORY]
    files = [sample.image.data or b"" for sample in few if sample.image]
    images: list[RgbImage] = []

    def read() -> None:
        for _ in read_tar(shard):
            pass

    def decode() -> None:
        images[:] = [decode_rgb(data, 1 << 30) for data in files]

    found.alone["read"] = _timed(read, len(samples))
    found.alone["decode"] = _timed(decode, len(few))
    found.alone["rows"] = _timed(lambda: _write_rows(few, images[0], scorer), len(few))
    with mock.patch.multiple(
        scorer_module, Encoder=FreeEncoder, load_clip=mock.Mock(return_value=None)
    ):
        packer = Scorer(scorer.config)
    with OperationCounter() as counter:
        packed = images[:_PACKED]
        list(packer.score(packed))
        found.operations = counter.operations / len(packed)


def _timed(work: Callable[[], None], images: int) -> float:
    """Return µs of CPU an image, of the second time that the work is done."""
    work()
    began = thread_time()
    work()
    return round((thread_time() - began) * 1e6 / images, 2)


def _write_rows(samples: list[Sample], image: RgbImage, scorer: ImageScorer) -> None:
    """Make the rows of samples, all of one image, and pack them into a file."""
    encoder = AnnotationEncoder(ShardIdentity(path="a", size=1, version="1"), contents_by(scorer))
    rows = OpenRows(encoder)
    scores = scorer.score([image] * len(samples))
    for chunk in in_chunks(samples):
        rows.add(chunk, [image] * len(chunk), [()] * len(chunk))
        rows.set_scores(list(islice(scores, len(chunk))))
    rows.close()
    encoder.finish()


if __name__ == "__main__":
    typer.run(lap)
