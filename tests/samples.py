"""Pictures and tars for tests; equal arguments give equal bytes."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

File = tuple[str, bytes]
"""Name and content of a file in a tar."""


def picture(width: int = 300, height: int = 260, seed: int = 0) -> Image.Image:
    """Coloured clouds."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(kind: str = "JPEG", width: int = 300, height: int = 260, seed: int = 0) -> bytes:
    """A picture as a file of a format that Pillow names so."""
    file = io.BytesIO()
    picture(width, height, seed).save(file, kind)
    return file.getvalue()


def tar_bytes(files: Iterable[File]) -> bytes:
    """A tar as GNU tar and webdataset write it."""
    content = io.BytesIO()
    _write(content, files)
    return content.getvalue()


def write_tar(path: Path, files: Iterable[File]) -> Path:
    """A tar on disk, its folder made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        _write(file, files)
    return path


def _write(file: BinaryIO, files: Iterable[File]) -> None:
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def write_shards(folder: Path, shards: int, samples: int) -> Path:
    """A folder of small shards, each picture of a size and colours of its own."""
    for shard in range(shards):
        files = [
            (f"{shard:03}{sample:04}.jpg", encoded(width=230 + sample, seed=shard * 1000 + sample))
            for sample in range(samples)
        ]
        write_tar(folder / f"{shard:05}.tar", files)
    return folder
