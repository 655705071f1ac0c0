"""Images with opinions to shards that `evaluate` and `score` read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice

from webdataset.writer import TarWriter

from shardsift.errors import InputError
from shardsift.evaluation.sets import Opinion
from shardsift.storage.files import committing, join


def write_shards(
    opinions: Iterable[Opinion], output: str, name: str, images_per_shard: int = 1000
) -> tuple[int, int]:
    """Write `NAME-00000.tar` and so on, as they are read; return how many images and shards.

    A sample is the image as it was, and a `.json` with `name`, `mos` and what else is known. Equal
    images give equal tars. Raises InputError if there is no image.
    """
    remaining = iter(opinions)
    images = shards = 0
    while part := list(islice(remaining, images_per_shard)):
        # webdataset's default modification time is now, which would make equal tars differ
        with (
            committing(join(output, f"{name}-{shards:05}.tar")) as file,
            TarWriter(file, mtime=0) as tar,
        ):
            for place, opinion in enumerate(part):
                tar.write({"__key__": f"{images + place:06}"} | _files(opinion))
        images, shards = images + len(part), shards + 1
    if not images:
        raise InputError(f"{name}: the folder's list of opinions is empty")
    return images, shards


def _files(opinion: Opinion) -> dict[str, bytes]:
    """Return the files of a sample, by extension."""
    fields = {"name": opinion.path.name, "mos": opinion.mos, **opinion.fields}
    extension = opinion.path.suffix.lower().lstrip(".")
    return {
        extension: opinion.path.read_bytes(),
        "json": json.dumps(fields, ensure_ascii=False).encode(),
    }
