"""Memory doesn't grow with the size and the number of shards, and stays below the documented bound
for huge images.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.samples import encoded, picture, write_tar
from tests.worst import HEIGHT, WIDTH, WORST

SIDE = 1024
IMAGES, REPEATS = 1000, 20
SHARD_MB = int(os.environ.get("SHARDSIFT_TEST_SHARD_MB", "0"))

pytestmark = pytest.mark.skipif(SHARD_MB == 0, reason="make memory runs it: minutes")

DECODE_THREADS = 2
HUGE = 7500, 8000
"""Width and height of an image of 60 megapixels."""

SCRIPT = f"""
import resource, sys
from shardsift import ScoreConfig, Scorer
from shardsift.annotations.annotate import annotate
from shardsift.records import ShardTask
from shardsift.images.decoder import ThreadDecoder

task = ShardTask(url=sys.argv[1], shard="0.tar", annotation="0.parquet")
scorer = Scorer(ScoreConfig(model="compact", crops="global"))
for _ in range(int(sys.argv[3])):
    annotate(task, scorer, sys.argv[2], ThreadDecoder({DECODE_THREADS}))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def peak_megabytes(tar: Path, repeats: int = 1) -> list[int]:
    """Peak resident memory, each time that a process has scored the shard once more."""
    command = [sys.executable, "-c", SCRIPT, str(tar), str(tar.parent / "out"), str(repeats)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    tar.unlink()
    return [int(line) for line in done.stdout.split()]


def bound_megabytes(pixels: int) -> float:
    """Bound of decoded images: one in each thread, one waiting for each, one being scored.

    Those are RGB. A decoding thread needs 4 bytes per pixel for Pillow and 3 for the result.
    """
    return pixels * (3 * (DECODE_THREADS + 1) + 7 * DECODE_THREADS) / (1 << 20)


WORST_SCRIPT = """
import json, sys, time
from shardsift.config import ScoreConfig
from shardsift.images.decoder import Wanted, decode_until_full

def peak():
    [line] = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1]) // 1024

data = open(sys.argv[1], "rb").read()
before, began = peak(), time.process_time()
[(picture, _)] = decode_until_full([data], Wanted(ScoreConfig().max_pixels))
print(json.dumps([getattr(picture, "code", None), time.process_time() - began, peak() - before]))
"""

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "reliability.md"
BEGIN, END = "<!-- worst pictures: made by make memory -->\n", "<!-- end of worst pictures -->\n"
MOST_BYTES_A_PIXEL, MOST_SECONDS = 17, 60


def shard_of(megabytes: int, folder: Path, data: bytes) -> Path:
    count = (megabytes << 20) // len(data)
    return write_tar(folder / f"{megabytes}.tar", ((f"{n}.jpg", data) for n in range(count)))


def test_peak_memory_does_not_grow_with_the_shard(tmp_path: Path) -> None:
    image = tmp_path / "noise.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    Image.fromarray(noise).save(image, quality=85)
    [small] = peak_megabytes(shard_of(SHARD_MB, tmp_path, image.read_bytes()))
    [large] = peak_megabytes(shard_of(10 * SHARD_MB, tmp_path, image.read_bytes()))
    sys.stdout.write(f"\n{SHARD_MB} MB: {small} MB, {10 * SHARD_MB} MB: {large} MB\n")
    assert large < 1.1 * small


def test_images_of_60_megapixels_stay_under_the_stated_bound(tmp_path: Path) -> None:
    [small] = peak_megabytes(write_tar(tmp_path / "small.tar", [("0.jpg", encoded())]))
    file = io.BytesIO()
    turned = Image.Exif()
    turned[0x0112] = 6
    picture(*HUGE).save(file, "JPEG", exif=turned)
    huge = file.getvalue()
    peaks = [
        peak_megabytes(write_tar(tmp_path / "0.tar", [(f"{n}.jpg", huge) for n in range(count)]))[0]
        for count in (12, 36)
    ]
    bound = bound_megabytes(HUGE[0] * HUGE[1])
    sys.stdout.write(f"\none small: {small} MB, 12 and 36 huge: {peaks} MB, bound + {bound:.0f}\n")
    assert peaks[1] < 1.1 * peaks[0]
    assert max(peaks) < small + bound


def test_peak_memory_does_not_grow_with_the_number_of_shards(tmp_path: Path) -> None:
    images = [encoded(width=300 + n % 400, height=300 + n % 300, seed=n) for n in range(IMAGES)]
    tar = write_tar(tmp_path / "0.tar", ((f"{n}.jpg", data) for n, data in enumerate(images)))
    peaks = peak_megabytes(tar, REPEATS)
    sys.stdout.write(f"\npeak after each {IMAGES:,} images: {peaks} MB\n")
    assert peaks[-1] < 1.02 * peaks[1], "the first shard warms up"


def test_the_worst_pictures_stay_within_bounds(tmp_path: Path) -> None:
    lines = ["| file of 89 megapixels, or its like | MB | its row | CPU seconds | memory, MB |"]
    lines.append("| --- | ---: | --- | ---: | ---: |")
    for name, (make, code) in WORST.items():
        file, data = make()
        (tmp_path / file).write_bytes(data)
        size = f"{len(data) / 1e6:.1f}"
        del data
        command = [sys.executable, "-c", WORST_SCRIPT, str(tmp_path / file)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found, seconds, peak = json.loads(done.stdout)
        (tmp_path / file).unlink()
        assert found == code, name
        assert seconds < MOST_SECONDS, name
        assert peak < MOST_BYTES_A_PIXEL * WIDTH * HEIGHT / (1 << 20), name
        row = f"`{code}`" if code else "scored"
        lines.append(f"| {name} | {size} | {row} | {seconds:.1f} | {peak:,} |")
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(
        before + BEGIN + "\n" + "\n".join(lines) + "\n\n" + END + rest.partition(END)[2]
    )
