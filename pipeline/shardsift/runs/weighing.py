"""How much work the shards of a score run are, before they are read.

Pictures of one kind of shard cost more than those of another: a byte of small photographs is fewer
views than one of large smooth drawings. So the first pictures of each kind are looked at, and the
bytes of its shards count as many views as theirs have.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from statistics import fmean
from threading import Thread

from shardsift.config import CropPlan
from shardsift.engine.weights import Kind, Weights, kind_of
from shardsift.errors import ImageError, ShardError, UserError
from shardsift.records import ShardTask
from shardsift.scoring.crops import patch_corners
from shardsift.shards.images import decode_rgb
from shardsift.shards.samples import read_samples
from shardsift.storage.files import identify, size_on_disk

_KINDS = 16
_PICTURES = 8
_MAX_PIXELS = 1 << 25


@dataclass(slots=True)
class _Seen:
    """What is known of the shards of a kind: the bytes of those on a disk; others are `remote`."""

    first: ShardTask
    bytes: float = 0.0
    remote: int = 0


class Weighing:
    """Weighs in a thread of its own, for it may take a while; `weights` are None until then."""

    def __init__(self, tasks: Iterable[ShardTask], plan: CropPlan) -> None:
        self.weights: Weights | None = None
        Thread(target=self._weigh, args=(tasks, plan), name="weigh", daemon=True).start()

    def _weigh(self, tasks: Iterable[ShardTask], plan: CropPlan) -> None:
        with suppress(UserError, OSError):  # whoever reads the shards tells of it
            self.weights = weigh(tasks, plan)


def weigh(tasks: Iterable[ShardTask], plan: CropPlan) -> Weights | None:
    """Weigh all shards that are to be scored; None if nothing of them can be read.

    A store is asked for the first shard of each kind alone.
    """
    kinds: dict[str, _Seen] = {}
    for task in tasks:
        seen = kinds.setdefault(kind_of(task.shard), _Seen(first=task))
        size = size_on_disk(task.url)
        if size is None:
            seen.remote += 1
        else:
            seen.bytes += size
    found: dict[str, tuple[float, float]] = {}
    for name, seen in islice(kinds.items(), _KINDS):
        if per_byte := _per_byte(seen.first, plan):
            found[name] = per_byte
        if seen.remote:
            seen.bytes += seen.remote * _size_of(seen.first)
    if not found or any(seen.remote and not seen.bytes for seen in kinds.values()):
        return None
    mean = tuple(map(fmean, zip(*found.values(), strict=True)))
    return Weights(
        {
            name: Kind(bytes=seen.bytes, work=views, items=samples)
            for name, seen in kinds.items()
            for views, samples in [found.get(name, mean)]
        }
    )


def _per_byte(task: ShardTask, plan: CropPlan) -> tuple[float, float] | None:
    """Count the views, and the samples, of a byte of a shard; None if that can't be told."""
    views = end = samples = 0
    try:
        for sample in islice(read_samples(task.url, task.shard), _PICTURES):
            image = sample.image
            if image is None or image.data is None or image.offset is None:
                continue
            end = max(end, image.offset + image.size)
            views += _views(image.data, plan)
            samples = sample.index + 1
    except ShardError:  # which the run will tell
        return None
    return (views / end, samples / end) if views else None


def _views(data: bytes, plan: CropPlan) -> int:
    try:
        height, width = decode_rgb(data, _MAX_PIXELS).shape[:2]
    except ImageError:
        return 0
    return len(patch_corners(height, width, plan)) + 1


def _size_of(task: ShardTask) -> int:
    try:
        return identify(task.url, task.shard).size
    except OSError:
        return 0
