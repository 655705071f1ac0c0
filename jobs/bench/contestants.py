"""The ways to score a shard that the benchmark compares. Each takes a tar, whole, to its scores.

Shapes in names: N crops, S = 224, 3 channels, D feature values.
"""

from __future__ import annotations

import io
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import Any, cast, get_args
from unittest import mock

import numpy as np
import open_clip
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from jobs.bench.corpus import MODEL
from shardsift.annotations.annotate import StageClock, annotate
from shardsift.config import Dtype, ScoreConfig
from shardsift.records import ShardTask
from shardsift.scoring.crops import count_crops, cut_crops
from shardsift.scoring.encoder import Encoder
from shardsift.scoring.maclip import fuse, magnitude_cue, similarity_cue
from shardsift.scoring.scorer import Scorer

_SIDE = {"cpu": 2048, "cuda": 8192}
_ROUNDS = 10


def count_flops(encoder: Encoder, crops_N3SS: Tensor) -> float:
    """Count floating-point operations a crop, a multiplication and an addition being two."""
    with FlopCounterMode(display=False) as counter:
        encoder.encode(crops_N3SS)
    return counter.get_total_flops() / len(crops_N3SS)


def measure_peak(device: str, dtype: str) -> float:
    """Measure the floating-point operations a second of a large matrix product."""
    side = _SIDE[device]
    factor = torch.randn(side, side, device=device).to(getattr(torch, dtype))

    def seconds() -> float:
        started = perf_counter()
        product = factor @ factor
        product[0, 0].item()  # waits for a GPU
        return perf_counter() - started

    return 2 * side**3 / min(seconds() for _ in range(_ROUNDS))


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Conditions of a race: weights file, `cpu` or `cuda`, torch's threads, crops a call."""

    weights: str
    device: str
    threads: int
    batch_size: int


@dataclass(frozen=True, kw_only=True)
class Lap:
    """One shard, scored: seconds in all and by stage, and the quality of each image in order.

    The caller sets `seconds` and the process's `peak_bytes`. `of_peak` is the arithmetic speed as a
    share of the hardware's.
    """

    images: int
    crops: int
    seconds: float = 0.0
    peak_bytes: int = 0
    stages: dict[str, float] = field(default_factory=dict[str, float])
    quality: list[float] = field(default_factory=list[float])
    of_peak: float | None = None


Contestant = Callable[[str], Lap]
"""Takes a shard's path."""


def published(conditions: Conditions) -> Contestant:
    """Race PyPI's `Maclip` with our weights; on CPUs its `.cuda()` does nothing."""
    tokenizer = ModuleType("clip")
    cast(Any, tokenizer).tokenize = open_clip.get_tokenizer(MODEL)
    sys.modules["clip"] = tokenizer  # only tokenize is used of OpenAI's package
    from Maclip import (  # pyright: ignore[reportMissingImports]
        clip_model,
        model,
    )

    state = torch.load(conditions.weights, weights_only=True)
    built = clip_model.build_model(state).float()
    module = cast(Any, model)
    with mock.patch.object(module, "load", return_value=built):
        scorer = module.Maclip().to(conditions.device).eval()
    cut = module.preprocess

    def score(shard: str) -> Lap:
        clock = StageClock()

        def timed_cut(*arguments: Any) -> Any:
            with clock.measure("decode and cut"):
                return cut(*arguments)

        module.preprocess = timed_cut
        quality: list[float] = []
        crops = 0
        with tempfile.TemporaryDirectory() as folder, _without_cuda(conditions.device):
            for number, data in enumerate(_images(shard, clock)):
                file = Path(folder, f"{number}.jpg")
                file.write_bytes(data)
                with clock.measure("score"), torch.no_grad():
                    quality.append(float(scorer(str(file), "livec")))
                width, height = Image.open(file).size
                crops += count_crops(height, width, "paper")
        clock.add("score", -clock.seconds["decode and cut"])
        return Lap(images=len(quality), crops=crops, stages=clock.seconds, quality=quality)

    return score


def plain_loop(conditions: Conditions) -> Contestant:
    """Run a plain open_clip loop: image by image, prompts encoded once."""
    model: Any = open_clip.create_model(
        MODEL, pretrained=conditions.weights, device=conditions.device
    )
    model.eval()
    model.visual.attnpool.positional_embedding.data.zero_()
    config = ScoreConfig()
    prompts = [prompt for pair in config.prompts for prompt in pair]
    mean_311, std_311 = (
        torch.tensor(values, device=conditions.device).view(3, 1, 1)
        for values in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    )
    with torch.no_grad():
        tokens = open_clip.get_tokenizer(MODEL)(prompts).to(conditions.device)
        text_P2D = model.encode_text(tokens, normalize=True).unflatten(0, (-1, 2))
    scale = float(model.logit_scale.detach().exp())

    def fused(features_ND: Tensor) -> Tensor:
        q_sim = similarity_cue(features_ND, text_P2D, scale)
        q_mag = magnitude_cue(features_ND, config.box_cox_lambda)
        bases = {"base_sim": config.base_sim, "base_mag": config.base_mag}
        return fuse(q_sim, q_mag, **bases, alpha=config.alpha).quality

    def score(shard: str) -> Lap:
        clock = StageClock()
        quality: list[float] = []
        crops = 0
        for data in _images(shard, clock):
            with clock.measure("decode and cut"):
                image_HW3 = torch.tensor(_decode(data))
                crops_NSS3 = torch.stack([crop.float() for crop in cut_crops(image_HW3, "paper")])
            with clock.measure("score"), torch.no_grad():
                pixels_N3SS = crops_NSS3.permute(0, 3, 1, 2).contiguous().to(conditions.device)
                features_ND = model.encode_image((pixels_N3SS / 255 - mean_311) / std_311)
                quality.append(float(fused(features_ND).mean()))
            crops += len(crops_NSS3)
        return Lap(images=len(quality), crops=crops, stages=clock.seconds, quality=quality)

    return score


def shardsift(conditions: Conditions, crops: str, dtype: str) -> Contestant:
    """Race ours, as an actor does it: tar to Parquet."""
    scorer = Scorer(_config(conditions, crops, dtype), **_placed(conditions))

    def score(shard: str) -> Lap:
        with tempfile.TemporaryDirectory() as folder:
            task = ShardTask(url=shard, shard=Path(shard).name, annotation="shard.parquet")
            report = annotate(task, scorer, folder)
            rows = pq.read_table(Path(folder, "shard.parquet")).to_pydict()
        stages = {name: seconds.busy for name, seconds in report.stages.items()}
        return Lap(
            images=report.rows, crops=sum(rows["crops"]), stages=stages, quality=rows["quality"]
        )

    return score


def encoder_alone(conditions: Conditions, dtype: str) -> Contestant:
    """Run our encoder on prepared crops, as the reference for the whole pipeline."""
    encoder = Encoder(_config(conditions, "paper", dtype), conditions.device)
    ready: dict[str, tuple[int, Tensor]] = {}

    def score(shard: str) -> Lap:
        if shard not in ready:
            images = [torch.tensor(_decode(data)) for data in _images(shard, StageClock())]
            crops = [crop.float() for image in images for crop in cut_crops(image, "paper")]
            ready[shard] = len(images), torch.stack(crops).to(conditions.device)
            return score(shard)  # the lap that counts has them ready
        images, crops_NSS3 = ready[shard]
        clock = StageClock()
        with clock.measure("score"):
            features = [
                encoder.encode(batch_NSS3.permute(0, 3, 1, 2))
                for batch_NSS3 in crops_NSS3.split(conditions.batch_size)
            ]
            features[-1].cpu()  # waits for a GPU
        seconds = clock.seconds["score"]
        flops = count_flops(encoder, crops_NSS3[:1].permute(0, 3, 1, 2)) * len(crops_NSS3)
        return Lap(
            images=images,
            crops=len(crops_NSS3),
            seconds=seconds,
            of_peak=flops / seconds / measure_peak(conditions.device, dtype),
        )

    return score


TAR_TO_PARQUET = {dtype: f"shardsift paper {dtype}" for dtype in get_args(Dtype)}
ENCODER_ALONE = {dtype: f"encoder alone {dtype}" for dtype in get_args(Dtype)}
"""Names of contestants by dtype: all of the work, and the encoder's part of it."""

CONTESTANTS: dict[str, Callable[[Conditions], Contestant]] = {
    "published (Maclip)": published,
    "plain open_clip loop": plain_loop,
    **{name: partial(shardsift, crops="paper", dtype=d) for d, name in TAR_TO_PARQUET.items()},
    **{
        f"shardsift {crops} float32": partial(shardsift, crops=crops, dtype="float32")
        for crops in ("fast", "global")
    },
    **{name: partial(encoder_alone, dtype=d) for d, name in ENCODER_ALONE.items()},
}
"""By the name in tables; the first is what speed and agreement are relative to."""


def _config(conditions: Conditions, crops: str, dtype: str) -> ScoreConfig:
    values = {"model": MODEL, "pretrained": conditions.weights, "crops": crops, "dtype": dtype}
    return ScoreConfig.model_validate(values)


def _placed(conditions: Conditions) -> dict[str, Any]:
    return {"device": conditions.device, "batch_size": conditions.batch_size}


def _images(shard: str, clock: StageClock) -> Iterator[bytes]:
    """Yield the JPEGs of a tar as a plain loop reads them."""

    def read() -> Iterator[bytes]:
        with tarfile.open(shard) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None, "the benchmark's shards hold images alone"
                yield file.read()

    return clock.iterate("read", read())


def _decode(data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def _without_cuda(device: str) -> Any:
    """Keep the published code's crops on the CPU; it would move them to a GPU."""
    if device != "cpu":
        return nullcontext()
    to = Tensor.to

    def stay(self: Tensor, *arguments: Any, **keywords: Any) -> Tensor:
        return self if arguments == ("cuda",) else to(self, *arguments, **keywords)

    def stay_too(self: Tensor) -> Tensor:
        return self

    return mock.patch.multiple(Tensor, to=stay, cuda=stay_too)
