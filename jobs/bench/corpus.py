"""Corpus of the benchmark: made-up pictures, and seeded weights that tell them apart."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from torch import nn
from webdataset.writer import TarWriter

MODEL = "RN50-quickgelu"

_PICTURES = 50
"""Different pictures of a shard; then they repeat."""


def write_shard(path: Path, images: int, width: int, height: int, quality: int = 90) -> Path:
    """Write a tar of JPEGs with detail at all scales as photographs have it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files: list[bytes] = []
    for seed in range(min(images, _PICTURES)):
        file = io.BytesIO()
        _picture(width, height, seed).save(file, "JPEG", quality=quality)
        files.append(file.getvalue())
    with TarWriter(str(path), mtime=0) as tar:
        for index in range(images):
            tar.write({"__key__": f"{index:06}", "jpg": files[index % _PICTURES]})
    return path


def write_weights(path: Path) -> Path:
    """Write seeded RN50 weights, in float16 as OpenAI's are, whose scores differ by picture.

    open_clip starts the last batch norm of each residual branch at zero, which would leave out
    most of the network, and text that is almost alike; training changes both.
    """
    torch.manual_seed(0)
    model: Any = open_clip.create_model(MODEL, pretrained=None, load_weights=False)
    for name, part in model.visual.named_modules():
        if name.endswith("bn3") and isinstance(part, nn.BatchNorm2d):
            nn.init.constant_(part.weight, 1.0)
    nn.init.normal_(model.token_embedding.weight)
    for block in model.transformer.resblocks:
        nn.init.normal_(block.attn.in_proj_weight, std=0.1)
    nn.init.constant_(model.logit_scale, math.log(100))
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({name: weights.half() for name, weights in model.state_dict().items()}, path)
    return path


def _picture(width: int, height: int, seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    pixels = np.zeros((height, width, 3), np.float32)
    for cell in (128, 48, 16, 6, 2):
        rough = rng.integers(0, 256, (height // cell + 2, width // cell + 2, 3), np.uint8)
        smooth = Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC)
        pixels += (np.asarray(smooth, np.float32) - 127.5) * cell**0.4 / 6
    return Image.fromarray(np.clip(pixels + 127.5, 0, 255).astype(np.uint8))
