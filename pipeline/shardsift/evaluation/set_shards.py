"""Images with opinions to shards that `evaluate` and `score` read."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from itertools import islice

from shardsift.errors import InputError
from shardsift.evaluation.sets import Opinion
from shardsift.storage.files import committing, join


def write_shards(
    opinions: Iterable[Opinion], output: str, name: str, images_per_shard: int = 1000
) -> tuple[int, int]:
    """Write `NAME-00000.tar` and so on, as they are read; how many images and shards.

    A sample is the image as it was, and a `.json` with `name`, `mos` and what else is known. Equal
    images give equal tars. Raises InputError where there is no image.
    """
    remaining = iter(opinions)
    images = shards = 0
    while part := list(islice(remaining, images_per_shard)):
        with (
            committing(join(output, f"{name}-{shards:05}.tar")) as file,
            tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar,
        ):
            for place, opinion in enumerate(part):
                _add(tar, f"{images + place:06}", opinion)
        images, shards = images + len(part), shards + 1
    if not images:
        raise InputError(f"{name}: the folder's list of opinions is empty")
    return images, shards


def _add(tar: tarfile.TarFile, key: str, opinion: Opinion) -> None:
    fields = {"name": opinion.path.name, "mos": opinion.mos, **opinion.fields}
    extension = opinion.path.suffix.lower().lstrip(".")
    for kind, data in (
        (extension, opinion.path.read_bytes()),
        ("json", json.dumps(fields, ensure_ascii=False).encode()),
    ):
        member = tarfile.TarInfo(f"{key}.{kind}")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
