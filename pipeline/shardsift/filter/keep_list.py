"""The keep-list of a shard: its kept samples, in a Parquet file that is named as its annotation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, Json, NonNegativeInt, ValidationError

from shardsift import __version__
from shardsift.annotations.digest import digest_of
from shardsift.annotations.parquet import SCHEMA as ANNOTATIONS
from shardsift.annotations.parquet import (
    encode_sealed,
    own_metadata,
    read_own,
    shard_column,
)
from shardsift.annotations.survey import Part
from shardsift.documents import first_problem
from shardsift.errors import AnnotationError
from shardsift.filter.documents import FilterRecord
from shardsift.redaction import reason
from shardsift.shards.names import annotation_name
from shardsift.storage.files import join

KEEP_LIST = "keep-list"
"""The folder below a filter's output that has them."""

SCHEMA = pa.schema(
    [ANNOTATIONS.field(name) for name in ("shard", "key", "index", "uid", "quality")]
)
"""Columns of a keep-list; `quality` is null if a sample without a score is kept."""


class KeepListFooter(BaseModel):
    """Metadata of a keep-list, under our prefix.

    `filter` is the rule that it was chosen by; `annotation` the digest of all rows of the shard's
    annotation, `digest` that of the kept ones.
    """

    shard: str
    rows: NonNegativeInt
    digest: str
    annotation: str
    fingerprint: str
    filter: Json[dict[str, Any]]
    threshold: Json[int | float | None]


@dataclass(frozen=True, slots=True)
class KeepListFile:
    """The kept samples of a shard, a `pyarrow.Table`, and what their file says of itself."""

    table: Any
    footer: KeepListFooter


def encode_keep_list(part: Part, rows: Any, record: FilterRecord) -> bytes:
    """Encode the kept rows of a shard's annotation."""
    named = rows.append_column("shard", shard_column(part.shard, len(rows)))
    table = named.select(SCHEMA.names).cast(SCHEMA)
    metadata = {
        "shard": part.shard,
        "rows": str(len(table)),
        "digest": digest_of(table),
        "annotation": part.digest,
        "fingerprint": record.fingerprint,
        "filter": json.dumps(record.rule, sort_keys=True),
        "threshold": json.dumps(record.threshold),
        "version": __version__,
    }
    return encode_sealed([table], SCHEMA, metadata)


def read_keep_list(
    url: str, name: str, record: FilterRecord, columns: Sequence[str] | None = None
) -> KeepListFile:
    """Read the keep-list of one shard below a filter's output.

    Raises:
        AnnotationError: if it isn't one, is damaged, or is of another shard or filter.
    """
    location = join(join(url, KEEP_LIST), name)
    schema = SCHEMA if columns is None else pa.schema([SCHEMA.field(name) for name in columns])
    try:
        metadata, table = read_own(location, schema)
        footer = parse_keep_list_footer(metadata)
        check_keep_list(footer, len(table), name, record)
        if columns is None and digest_of(table) != footer.digest:
            raise ValueError("its rows are not those that its digest is of")
    except (OSError, pa.ArrowException, ValueError, KeyError) as error:
        raise AnnotationError(
            f"{location}: not a keep-list of this filter: {reason(error)}; filter again"
        ) from error
    return KeepListFile(table, footer)


def parse_keep_list_footer(metadata: Mapping[bytes, bytes]) -> KeepListFooter:
    """Parse the metadata of a Parquet schema. Raises ValueError."""
    try:
        return KeepListFooter.model_validate(own_metadata(metadata))
    except ValidationError as error:
        raise ValueError(first_problem(error)) from error


def check_keep_list(footer: KeepListFooter, rows: int, name: str, record: FilterRecord) -> None:
    """Raise ValueError if a file of so many rows says that it is another one than it should be."""
    if annotation_name(footer.shard) != name:
        raise ValueError(f"is that of {footer.shard}")
    for what, told, expected in (
        ("fingerprint", footer.fingerprint, record.fingerprint),
        ("rule", footer.filter, record.rule),
        ("threshold", footer.threshold, record.threshold),
        ("number of rows", footer.rows, rows),
    ):
        if told != expected:
            raise ValueError(f"its {what} is {told}, and has to be {expected}")
