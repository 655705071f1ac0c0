"""Samples of a run by their keys: what their annotations say, and their images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute

from shardsift.config import PILLOW_BOMB_ERROR_PIXELS
from shardsift.errors import InputError
from shardsift.images.decode import decode_rgb
from shardsift.outputs.output import OutputFolder
from shardsift.records import RgbImage
from shardsift.shards.names import annotation_name
from shardsift.storage.files import join, read_range
from shardsift.threads import Track, map_ordered, no_track

pc: Any = pyarrow.compute  # which makes its functions when it is imported

_THREADS = 16
_COLUMNS = ("key", "shard", "index", "tar_offset", "tar_size", "quality", "error")


def find_samples(
    folder: OutputFolder, keys: Sequence[str], shard: str | None, track: Track = no_track
) -> list[dict[str, Any]]:
    """Look up the rows of samples by key, in one shard or in all, in the order of the keys.

    Raises:
        InputError: if a key isn't there, or in several shards, or its sample has no image that
            could be scored.
        AnnotationError: if a file isn't one of ours.
    """
    names = sorted(folder.committed)
    if shard is not None:
        names = [annotation_name(shard)]
        if names[0] not in folder.committed:
            raise InputError(f"{folder.url}: has no annotation of shard {shard}")
    wanted = pa.array(keys, pa.string())

    def look(name: str) -> list[dict[str, Any]]:
        table = folder.annotations.read(name, list(_COLUMNS))
        return table.filter(pc.is_in(table["key"], wanted)).to_pylist()

    found = track(map_ordered(look, names, _THREADS), "looking for keys", len(names))
    rows = [row for rows in found for row in rows]
    return [row for key in keys for row in _of_key(key, rows)]


def _of_key(key: str, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of a key: several if a shard repeats it. Raises InputError."""
    own = [row for row in rows if row["key"] == key]
    shards = sorted({row["shard"] for row in own})
    if not own:
        raise InputError(f"--key {key}: no sample has it")
    if len(shards) > 1:
        raise InputError(
            f"--key {key}: is in {len(shards)} shards, such as {shards[0]} and {shards[1]}; name "
            "one with --shard"
        )
    for row in own:
        if row["error"] is not None:
            raise InputError(f"--key {key} in {row['shard']}: has no score ({row['error']})")
    return own


def read_image(root: str, row: dict[str, Any]) -> RgbImage:
    """Read the image of an annotation's row out of its tar, below the folder of shards.

    Raises:
        OSError: if the tar can't be read.
        ImageError: if it isn't the tar that was scored.
        ValueError: if the image does not lie in one piece in it.
    """
    offset, size = row["tar_offset"], row["tar_size"]
    if not (isinstance(offset, int) and isinstance(size, int)):
        raise ValueError(f"{row['key']} does not lie in one piece in its tar")
    data = read_range(join(root, str(row["shard"])), offset, size)
    return decode_rgb(data, PILLOW_BOMB_ERROR_PIXELS)
