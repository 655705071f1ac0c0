"""Checks of `doctor`: GPUs, Ray, weights, places and speeds, each with what to do about it."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from shutil import disk_usage
from time import perf_counter

import numpy as np

from shardsift.config.verb_settings import DoctorConfig
from shardsift.engine.cluster import connected, count_resources
from shardsift.errors import ModelError, NotHereError, ShardsiftError
from shardsift.images.decode import decode_rgb
from shardsift.images.jpeg import encode_plain
from shardsift.outputs.run_folder import check_output, local_folder
from shardsift.records import RgbImage, ShardTask
from shardsift.scoring.clip import ClipModel, cache_alone, load_clip, unreachable
from shardsift.scoring.devices import describe_gpus
from shardsift.scoring.scorer import Scorer
from shardsift.shards.plan import plan_shards
from shardsift.shards.readers import read_samples
from shardsift.storage.files import commit, open_stream
from shardsift.text import byte_size, count
from shardsift.version import __version__

_PACKAGES = ("torch", "open_clip_torch", "ray", "pyarrow", "fsspec")
_BLOCK_BYTES = 4 << 20
_PICTURES = 32
_LEAST_SPACE = 5 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """Result of a check; `advice` is the next step, and empty if all is well."""

    what: str
    told: str
    advice: str = ""


def examine(config: DoctorConfig) -> Iterator[Check]:
    """Run all checks; a failure doesn't stop the others."""
    yield Check(
        what="Python",
        told=f"{platform.python_version()}, {platform.machine()}, "
        f"{count(os.cpu_count() or 1, 'core')}",
    )
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    yield Check(what="packages", told=f"shardsift {__version__}, {packages}")
    yield _gpus()
    yield _cluster(config.address)
    yield _space("temporary files", Path(tempfile.gettempdir()))
    model, finding = _weights(config)
    yield finding
    slope = np.linspace(40, 200, 512 * 384 * 3).reshape(384, 512, 3)
    grain = np.random.default_rng(0).normal(0, 12, slope.shape)
    made_up_picture = encode_plain((slope + grain).clip(0, 255).astype(np.uint8))
    pictures = [made_up_picture]
    for place in config.places:
        shard, finding = _place(place)
        yield finding
        if folder := local_folder(place):
            yield _space(place, folder)
        if shard:
            yield _reading(shard.url, config.seconds)
            pictures = _pictures_of(shard) or pictures
    yield _decoding(pictures, config)
    if model:
        yield _scoring(pictures, model, config)
    yield _writing(config.seconds)


def _gpus() -> Check:
    gpus, problem = describe_gpus()
    driver = Path("/proc/driver/nvidia/version")
    with suppress(OSError):
        gpus = [*gpus, driver.read_text().splitlines()[0].strip()]
    advice = f"{problem}; with --gpus-per-actor 0 actors score on CPUs" if problem else ""
    return Check(what="GPUs", told="; ".join(gpus) or "none", advice=advice)


def _cluster(address: str | None) -> Check:
    try:
        with connected(address):
            nodes, cpus, gpus = count_resources()
    except ShardsiftError as error:
        return Check(what="Ray", told="no cluster", advice=str(error))
    told = f"{count(nodes, 'node')}, {count(cpus, 'core')}, {count(gpus, 'GPU')}"
    return Check(what="Ray", told=told)


def _weights(config: DoctorConfig) -> tuple[ClipModel | None, Check]:
    name = f"{config.model}{f' ({config.pretrained})' if config.pretrained else ''}"
    started = perf_counter()
    try:
        with cache_alone():
            model = load_clip(config.scoring())
    except NotHereError:
        advice = "the first run downloads them"
        if host := unreachable():
            advice = f"{host} can't be reached; copy weights here and pass --pretrained PATH"
    except ModelError as error:
        advice = str(error)
    else:
        took = perf_counter() - started
        return model, Check(what="weights", told=f"{name} loads in {took:.1f} s")
    return None, Check(what="weights", told=f"{name}: not here", advice=advice)


def _place(place: str) -> tuple[ShardTask | None, Check]:
    """Look for shards at a place, and try to write there if there are none."""
    try:
        plan = plan_shards([place])
        plan.check_found()
    except ShardsiftError as error:
        no_shards = str(error)
    else:
        return next(iter(plan)), Check(what=place, told=f"{count(plan.count, 'shard')} to read")
    try:
        check_output(place, ())
    except ShardsiftError as error:
        advice = no_shards if str(error) == no_shards else f"{no_shards}; and {error}"
        return None, Check(what=place, told="neither shards nor a writable folder", advice=advice)
    return None, Check(what=place, told="can be written; no shards here")


def _space(what: str, folder: Path) -> Check:
    while not folder.exists():
        folder = folder.parent
    free = disk_usage(folder).free
    advice = "that is little" if free < _LEAST_SPACE else ""
    return Check(what=f"space, {what}", told=f"{byte_size(free)} are free", advice=advice)


# --- speeds --------------------------------------------------------------------------------------


def _per_second(step: Callable[[], float], seconds: float) -> float:
    """Repeat a step for `seconds`; return the sum of its results per second."""
    done, started = 0.0, perf_counter()
    while (took := perf_counter() - started) < seconds or not done:
        done += step()
    return done / took


def _reading(shard: str, seconds: float) -> Check:
    try:
        with open_stream(shard) as file:

            def read() -> float:
                if block := file.read(_BLOCK_BYTES):
                    return len(block)
                file.seek(0)
                return 0

            speed = _per_second(read, seconds)
    except OSError as error:
        return Check(what="reading", told="fails", advice=str(error))
    return Check(what="reading", told=f"{byte_size(speed)}/s, one shard after the other")


def _pictures_of(shard: ShardTask) -> list[bytes]:
    """Read the first pictures of a shard; none if it can't be read, which a run will tell."""
    with suppress(ShardsiftError):
        samples = islice(read_samples(shard), _PICTURES)
        return [sample.image.data for sample in samples if sample.image and sample.image.data]
    return []


def _decoding(pictures: list[bytes], config: DoctorConfig) -> Check:
    def decode() -> float:
        return len(_decoded(pictures, config))

    if not _decoded(pictures, config):
        return Check(what="decoding", told="fails", advice="no picture can be decoded")
    speed = _per_second(decode, config.seconds)
    return Check(what="decoding", told=f"{speed:,.0f} pictures/s and core{_size(pictures)}")


def _scoring(pictures: list[bytes], model: ClipModel, config: DoctorConfig) -> Check:
    try:
        scorer = Scorer(config.scoring(), device=config.device, loaded=model)
        images = _decoded(pictures, config)
        list(scorer.score(images[:1]))  # the first call loads libraries
        speed = _per_second(lambda: len(list(scorer.score(images[:4]))), config.seconds)
    except ShardsiftError as error:
        return Check(what="scoring", told="fails", advice=str(error))
    return Check(what="scoring", told=f"{speed:,.1f} pictures/s on {config.device}")


def _writing(seconds: float) -> Check:
    block = os.urandom(_BLOCK_BYTES)
    with tempfile.TemporaryDirectory() as folder:

        def write() -> float:
            commit(f"{folder}/block", block)
            return len(block)

        speed = _per_second(write, seconds)
    return Check(what="writing", told=f"{byte_size(speed)}/s, temporary files")


def _decoded(pictures: list[bytes], config: DoctorConfig) -> list[RgbImage]:
    found: list[RgbImage] = []
    for data in pictures:
        with suppress(ShardsiftError):
            found.append(decode_rgb(data, config.max_pixels))
    return found


def _size(pictures: list[bytes]) -> str:
    return f", {byte_size(sum(map(len, pictures)) / len(pictures))} each"
