"""Images with opinions to shards that `evaluate` and `score` read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

from webdataset.writer import TarWriter

from shardsift.errors import InputError
from shardsift.evaluation.sets import Opinion
from shardsift.storage.files import committing, join


class Written(NamedTuple):
    """How many samples and shards were written, and how many of the samples lack their image."""

    samples: int
    shards: int
    without_image: int


def write_shards(
    opinions: Iterable[Opinion], output: str, name: str, samples_per_shard: int = 1000
) -> Written:
    """Write `NAME-00000.tar` and so on, as they are read.

    A sample is the image as it was, if the download has it, and a `.json` with `name`, `mos` and
    what else is known. Equal images give equal tars. Raises InputError if there is no sample.
    """
    remaining = iter(opinions)
    samples = shards = without_image = 0
    while part := list(islice(remaining, samples_per_shard)):
        # webdataset's default modification time is now, which would make equal tars differ
        with (
            committing(join(output, f"{name}-{shards:05}.tar")) as file,
            TarWriter(file, mtime=0) as tar,
        ):
            for place, opinion in enumerate(part):
                tar.write({"__key__": f"{samples + place:06}"} | _files(opinion))
        samples, shards = samples + len(part), shards + 1
        without_image += sum(opinion.path is None for opinion in part)
    if not samples:
        raise InputError(f"{name}: the folder's list of opinions is empty")
    return Written(samples, shards, without_image)


def _files(opinion: Opinion) -> dict[str, bytes]:
    """Return the files of a sample, by extension."""
    fields = {"name": opinion.name, "mos": opinion.mos, **opinion.fields}
    files = {"json": json.dumps(fields, ensure_ascii=False).encode()}
    if opinion.path is not None:
        files[opinion.path.suffix.lower().lstrip(".")] = opinion.path.read_bytes()
    return files
