"""Whether a tar holds the samples that its annotation has rows of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import Any

from shardsift.outputs.encoder import MOST_TAR_SIZE
from shardsift.records import Sample
from shardsift.verify.findings import Unsound

_COLUMNS = ("key", "uid", "image_ext", "tar_offset", "tar_size")
"""What a row says of a sample before its image is decoded."""


def compare_samples(samples: Iterable[Sample], rows: Any) -> None:
    """Raise Unsound unless the rows, a `pyarrow.Table`, are of these samples."""
    count = 0
    different = ""
    for sample, row in zip_longest(samples, rows.select([*_COLUMNS, "sha256"]).to_pylist()):
        count += sample is not None
        if sample and row and not different and (column := _difference(sample, row)):
            told, found = row[column], _of(sample)[column]
            different = f"row {count - 1:,} has {column} {told!r}, and the tar {found!r}"
        if sample and row and not different and not _is_image_of(sample, row):
            different = f"row {count - 1:,} has the sha256 of another image than the tar holds"
    if count != len(rows):
        raise Unsound(f"{len(rows):,} rows, but the tar holds {count:,} samples")
    if different:
        raise Unsound(different)


def _difference(sample: Sample, row: Mapping[str, Any]) -> str | None:
    found = _of(sample)
    return next((column for column in _COLUMNS if row[column] != found[column]), None)


def _is_image_of(sample: Sample, row: Mapping[str, Any]) -> bool:
    """Tell whether a sample has the image that its row was hashed of, if it was."""
    if row["sha256"] is None:
        return True
    data = sample.image.data if sample.image else None
    return data is not None and hashlib.sha256(data).digest() == row["sha256"]


def _of(sample: Sample) -> dict[str, Any]:
    image = sample.image
    size = image and image.size
    return {
        "key": sample.key,
        "uid": sample.uid,
        "image_ext": image and image.extension,
        "tar_offset": image and image.offset,
        "tar_size": size if size is not None and size <= MOST_TAR_SIZE else None,
    }
