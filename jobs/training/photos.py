"""Photographs to train on, as encoded bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shardsift.errors import ConfigError
from shardsift.shards.tar_samples import read_tar
from shardsift.storage.finding import expand

MAX_PIXELS: Final = 89_478_485
"""Largest photograph in pixels; larger ones are refused."""


@dataclass(frozen=True, kw_only=True)
class Photos:
    """Encoded photographs: `train` to learn from, `held_out` to select and measure by."""

    train: list[bytes]
    held_out: list[bytes]


def load_photos(shards: str, held_out: int) -> Photos:
    """Load all images of the shards, every k-th held out.

    `shards` is whatever `shardsift score` takes: a path, glob, folder, braces, `@list.txt`, URL.

    Raises:
        InputError: if nothing matches.
        ShardError: if a shard can't be read to its end.
        ConfigError: with too few images to hold `held_out` of them out.
    """
    found = [
        sample.image.data
        for url in expand([shards])
        for sample in read_tar(url)
        if sample.image is not None and sample.image.data is not None
    ]
    if len(found) < 2 * held_out:
        raise ConfigError(
            f"{shards}: {len(found)} images, but held_out {held_out} needs twice that number"
        )
    every = max(2, len(found) // max(1, held_out))
    kept = [index for index in range(len(found)) if index % every == every - 1][:held_out]
    train = [data for index, data in enumerate(found) if index not in set(kept)]
    return Photos(train=train, held_out=[found[index] for index in kept])
