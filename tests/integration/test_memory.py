"""Scoring a shard takes no more memory when the shard is ten times as large."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.samples import write_tar

SIDE = 1024
SHARD_MB = int(os.environ.get("SHARDSIFT_SHARD_MB", "0"))

pytestmark = pytest.mark.skipif(SHARD_MB == 0, reason="make memory runs it: minutes")

SCRIPT = """
import resource, sys
from pipeline import ScoreConfig, Scorer
from pipeline.annotate import AnnotateSettings, annotate
from pipeline.records import ShardTask

settings = AnnotateSettings(
    output=sys.argv[2], fingerprint="f", config={}, decode_threads=2, max_pixels=10**8
)
task = ShardTask(url=sys.argv[1], shard="0.tar", annotation="0.parquet")
annotate(task, Scorer(ScoreConfig(model="compact", crops="global")), settings)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_megabytes(folder: Path, image: Path, megabytes: int) -> float:
    """Peak resident memory of a process that scores a shard of such a size."""
    data = image.read_bytes()
    count = (megabytes << 20) // len(data)
    tar = write_tar(folder / f"{megabytes}.tar", ((f"{n}.jpg", data) for n in range(count)))
    command = [sys.executable, "-c", SCRIPT, str(tar), str(folder / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    tar.unlink()
    return int(done.stdout.split()[-1]) / 1024


def test_peak_memory_does_not_grow_with_the_shard(tmp_path: Path) -> None:
    image = tmp_path / "noise.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    Image.fromarray(noise).save(image, quality=85)
    small = peak_megabytes(tmp_path, image, SHARD_MB)
    large = peak_megabytes(tmp_path, image, 10 * SHARD_MB)
    sys.stdout.write(f"\n{SHARD_MB} MB: {small:.0f} MB, {10 * SHARD_MB} MB: {large:.0f} MB\n")
    assert large < 1.1 * small
