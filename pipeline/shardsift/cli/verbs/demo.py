"""`shardsift demo`: the whole way on generated shards, offline.

Sample photographs of scikit-image are blurred, noised, compressed and shrunk in five degrees and
scored; one table shows how the mean quality falls with each degree, another the number of pictures
that a filter keeps.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageFilter
from webdataset.writer import TarWriter

from shardsift.cli.console import PlainConsole
from shardsift.cli.tables import Sheet
from shardsift.cli.verbs.score import report_result
from shardsift.config import RunConfig, bundled_configs, load_config
from shardsift.config.filter_settings import FilterConfig
from shardsift.config.verb_settings import DemoConfig
from shardsift.errors import ConfigError
from shardsift.filtering.kept_folder import KEEP_LIST
from shardsift.filtering.query import curate
from shardsift.runs.score_run import score
from shardsift.scoring.weights import RANDOM_WEIGHTS

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")
SHARDS = 4
LEVELS = 5

_SIDE = 320
_WINDOWS = (0.0, 0.5, 1.0)
"""Positions of the squares that are cut from a photograph: 0 is left or top, 1 right or bottom."""


def blur(photograph: Image.Image, level: int) -> Image.Image:
    """Blur by a Gaussian with a standard deviation of 0.8 to 6 pixels."""
    return photograph.filter(ImageFilter.GaussianBlur((0.8, 1.4, 2.4, 4.0, 6.0)[level - 1]))


def noise(photograph: Image.Image, level: int) -> Image.Image:
    """Add Gaussian noise with a standard deviation of 8 to 80 of 255 grey levels."""
    sigma = (8.0, 16.0, 28.0, 48.0, 80.0)[level - 1]
    pixels = np.asarray(photograph, np.float32)
    noisy = pixels + np.random.default_rng(level).normal(0.0, sigma, pixels.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def jpeg(photograph: Image.Image, level: int) -> Image.Image:
    """Compress with quality 24 down to 4; from the grain of these photographs 50 would gain."""
    file = io.BytesIO()
    photograph.save(file, "JPEG", quality=(24, 16, 11, 7, 4)[level - 1])
    return Image.open(file).convert("RGB")


def downscaling(photograph: Image.Image, level: int) -> Image.Image:
    """Shrink 1.5 to 8 times, and enlarge again."""
    factor = (1.5, 2.2, 3.3, 5.0, 8.0)[level - 1]
    small = photograph.resize([round(side / factor) for side in photograph.size])
    return small.resize(photograph.size, Image.Resampling.BICUBIC)


DISTORTIONS: dict[str, Callable[[Image.Image, int], Image.Image]] = {
    "blur": blur,
    "noise": noise,
    "jpeg": jpeg,
    "downscaling": downscaling,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoSample:
    """A file of a demo shard; its key names the photograph and the distortion."""

    key: str
    image: bytes | None


def run(config: DemoConfig, console: PlainConsole) -> int:
    """Build the shards, score them, and print the table; return the exit code."""
    folder = config.output
    shards, output = folder / "shards", folder / "annotations"
    console.say(f"making {SHARDS} shards of distorted photographs in {shards}")
    write_shards(shards)
    overrides = {"shards": [str(shards)], "output": str(output), "overwrite": True}
    run_config = load_config(RunConfig, bundled_configs()["demo"], overrides)
    result = score(run_config, console)
    exit_code = report_result(result, run_config, console)
    rows = cast(list[dict[str, Any]], pq.read_table(output).to_pylist())
    console.tabulate(quality_table(rows))
    for row in [row for row in rows if row["error"]]:
        console.say(f"no score for {row['key']}: {row['error']}: {row['error_message']}")
    if run_config.pretrained == RANDOM_WEIGHTS:
        console.say("The weights are random: these scores carry no meaning.")
    console.say(f"annotations: {output}/**/*.parquet   per shard: {output}/_manifest.arrow")
    console.tabulate(kept_table(keep_better_half(output, folder / "kept"), rows))
    console.suggest("report", str(output), "--output", str(folder / "report"))
    return exit_code


def keep_better_half(annotations: Path, output: Path) -> set[str]:
    """Filter as `shardsift filter --keep-top 0.5` does; return the keys that it keeps."""
    config = FilterConfig(
        annotations=str(annotations), output=str(output), keep_top=0.5, overwrite=True
    )
    curate(config)
    return set(pq.read_table(output / KEEP_LIST, columns=["key"])["key"].to_pylist())


def write_shards(folder: Path) -> None:
    """Write the demo's tars; they are equal on all machines with the same JPEG and PNG encoders."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = list(_samples())
    for number in range(SHARDS):
        # webdataset's default modification time is now, which would make equal demos differ
        with TarWriter(str(folder / f"demo-{number:05}.tar"), mtime=0) as tar:
            for sample in samples[number::SHARDS]:
                fields = {"__key__": sample.key, "json": json.dumps({"uid": sample.key}).encode()}
                tar.write(fields | ({"png": sample.image} if sample.image is not None else {}))


def quality_table(rows: Sequence[Mapping[str, Any]]) -> Sheet:
    """Tabulate the mean quality of each distortion, from the untouched to the worst level."""
    return _by_level(
        "mean quality by level of distortion", lambda ending: f"{_mean_quality(rows, ending):.3f}"
    )


def kept_table(kept: Collection[str], rows: Sequence[Mapping[str, Any]]) -> Sheet:
    """Tabulate the number of kept and of all photographs of each distortion."""

    def count(ending: str) -> str:
        keys = [row["key"] for row in rows if row["key"].endswith(ending)]
        return f"{sum(key in kept for key in keys)} of {len(keys)}"

    return _by_level("kept by shardsift filter --keep-top 0.5", count)


def _by_level(title: str, cell: Callable[[str], str]) -> Sheet:
    """Make a table, a row a distortion; `cell` tells something of keys with an ending."""
    rows: list[list[str]] = []
    for name in DISTORTIONS:
        endings = ["-untouched", *(f"-{name}-{level}" for level in range(1, LEVELS + 1))]
        rows.append([name, *map(cell, endings)])
    levels = ["none", *(str(level) for level in range(1, LEVELS + 1))]
    return Sheet(title=title, headings=["distortion", *levels], rows=rows)


def _mean_quality(rows: Sequence[Mapping[str, Any]], ending: str) -> float:
    return fmean(row["quality"] for row in rows if row["key"].endswith(ending))


def _samples() -> Iterator[DemoSample]:
    photographs = list(_photographs())
    for name, photograph in photographs:
        yield DemoSample(key=f"{name}-untouched", image=_png(photograph))
        for distortion, distort in DISTORTIONS.items():
            for level in range(1, LEVELS + 1):
                image = _png(distort(photograph, level))
                yield DemoSample(key=f"{name}-{distortion}-{level}", image=image)
    yield DemoSample(key="a-corrupt-image", image=_corrupted(_png(photographs[0][1])))
    yield DemoSample(key="no-image-at-all", image=None)


def _photographs() -> Iterator[tuple[str, Image.Image]]:
    """Yield windows of scikit-image's photographs, so that there are a few hundred samples."""
    try:
        from skimage import data
    except ImportError as error:
        raise ConfigError("the demo needs scikit-image: pip install 'shardsift[demo]'") from error
    for name in PHOTOGRAPHS:
        photograph = Image.fromarray(getattr(data, name)()).convert("RGB")
        width, height = photograph.size
        for number, place in enumerate(_WINDOWS):
            left, top = (round(place * max(side - _SIDE, 0)) for side in (width, height))
            right, bottom = left + min(_SIDE, width), top + min(_SIDE, height)
            yield f"{name}{number}", photograph.crop((left, top, right, bottom))


def _corrupted(image: bytes) -> bytes:
    middle = len(image) // 2
    return image[:middle] + bytes(64) + image[middle + 64 :]


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
