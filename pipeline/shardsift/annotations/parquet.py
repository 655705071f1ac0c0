"""The annotation file of a shard: its schema, its bytes, its footer.

Equal rows and equal metadata give equal bytes: nothing here knows the time, the host or the run.
"""

from __future__ import annotations

import base64
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shardsift import __version__
from shardsift.annotations.sketch import quantile_sketch
from shardsift.errors import AnnotationError
from shardsift.records import Annotation, ShardIdentity, ShardReport
from shardsift.storage.files import join, open_read
from shardsift.threads import map_ordered

_LABEL = pa.dictionary(pa.int32(), pa.string())

SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("shard", _LABEL, nullable=False),
        pa.field("index", pa.int32(), nullable=False),
        pa.field("uid", pa.string()),
        pa.field("image_ext", _LABEL),
        pa.field("tar_offset", pa.int64()),
        pa.field("tar_size", pa.int32()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("crops", pa.int16()),
        pa.field("quality", pa.float32()),
        pa.field("q_sim", pa.float32()),
        pa.field("q_mag", pa.float32()),
        pa.field("w_sim", pa.float32()),
        pa.field("quality_min", pa.float32()),
        pa.field("quality_std", pa.float32()),
        pa.field("error", _LABEL),
        pa.field("error_message", pa.string()),
    ]
)
"""Columns of an annotation file.

key             WebDataset `__key__`
shard           the shard's path below the common root of the run's inputs
index           place of the sample in its shard, from 0
uid             `uid`, else `sha256`, of the sample's `.json`
image_ext       extension of the scored image, lower case
tar_offset      where the image's bytes begin in the tar
tar_size        how many they are; null from 2 GiB
width, height   of the decoded image, in pixels, EXIF orientation applied
crops           number of views scored
quality         MA-CLIP: the fused score, mean over the crops
q_sim, q_mag    its cues; w_sim: weight of q_sim in the fusion (w_mag is 1 - w_sim)
quality_min     lowest, and quality_std: population standard deviation, over the crops
error           null if scored, else an `ErrorCode`; error_message: one line about it
"""

ROW_GROUP_ROWS = 65_536

PARQUET_OPTIONS: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": [field.name for field in SCHEMA if field.type == _LABEL],
    "write_page_index": True,
}
"""How annotations are written."""

_THREADS = 32
_MAX_INT32 = 2**31 - 1
_PREFIX = "shardsift."


@dataclass(frozen=True, kw_only=True, slots=True)
class Footer:
    """What an annotation file says about itself; reading it doesn't read the rows."""

    fingerprint: str
    config: Mapping[str, Any]
    shard: ShardIdentity
    report: ShardReport


def encode(
    rows: Sequence[Annotation],
    *,
    shard: ShardIdentity,
    fingerprint: str,
    config: Mapping[str, Any],
    unscored_images: int = 0,
) -> bytes:
    """Encode a shard's Parquet file. `config` is what `fingerprint` was made of, for people."""
    metadata = {
        "fingerprint": fingerprint,
        "config": json.dumps(config, sort_keys=True),
        "shard": json.dumps(asdict(shard), sort_keys=True),
        "rows": str(len(rows)),
        "errors": json.dumps(count_errors(rows), sort_keys=True),
        "sketch": base64.b64encode(sketch_quality(rows)).decode(),
        "unscored_images": str(unscored_images),
        "version": __version__,
    }
    schema = SCHEMA.with_metadata({_PREFIX + key: value for key, value in metadata.items()})
    columns = [_column(field, rows, shard.path) for field in SCHEMA]
    sink = io.BytesIO()
    pq.write_table(
        pa.Table.from_arrays(columns, schema=schema),
        sink,
        row_group_size=ROW_GROUP_ROWS,
        **PARQUET_OPTIONS,
    )
    return sink.getvalue()


def count_errors(rows: Sequence[Annotation]) -> dict[str, int]:
    """Count the rows of each error code that occurs, in the order of the codes' names."""
    return dict(sorted(Counter(str(row.error) for row in rows if row.error).items()))


def sketch_quality(rows: Sequence[Annotation]) -> bytes:
    """Serialise a KLL sketch of the `quality` of the scored rows."""
    qualities = [row.quality for row in rows if row.quality is not None]
    return quantile_sketch(np.array(qualities, np.float32))


def read(url: str, columns: Sequence[str] | None = None) -> Any:
    """Read the rows of an annotation file into a `pyarrow.Table`. Raises AnnotationError."""
    schema = SCHEMA if columns is None else pa.schema([SCHEMA.field(name) for name in columns])
    try:
        with open_read(url) as file:
            return pq.read_table(file, columns=schema.names, use_threads=False).cast(schema)
    except (OSError, pa.ArrowException, ValueError) as error:
        raise AnnotationError(f"{url}: not a readable annotation file: {error}") from error


def read_footer(url: str) -> Footer:
    """Read the metadata of an annotation file. Raises AnnotationError if it isn't one of ours."""
    try:
        with open_read(url) as file:
            return parse_footer(pq.read_schema(file).metadata or {})
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise AnnotationError(f"{url}: not an annotation file of Shardsift: {error}") from error


def parse_footer(metadata: Mapping[bytes, bytes]) -> Footer:
    """Parse the metadata of a Parquet schema. Raises ValueError, KeyError or TypeError."""

    def value(key: str) -> str:
        return metadata[(_PREFIX + key).encode()].decode()

    shard = ShardIdentity(**json.loads(value("shard")))
    return Footer(
        fingerprint=value("fingerprint"),
        config=cast(dict[str, Any], json.loads(value("config"))),
        shard=shard,
        report=ShardReport(
            shard=shard.path,
            rows=int(value("rows")),
            errors=cast(dict[str, int], json.loads(value("errors"))),
            sketch=base64.b64decode(value("sketch")),
            unscored_images=int(value("unscored_images")),
        ),
    )


@dataclass(frozen=True, slots=True)
class Scored:
    """Which shard an annotation is of, and the configuration that it was made with."""

    shard: ShardIdentity
    fingerprint: str


@dataclass(frozen=True, slots=True)
class AnnotationFiles:
    """A folder with an annotation file for each shard; may be pickled."""

    url: str

    def read(self, name: str, columns: Sequence[str] | None = None) -> Any:
        """Read the rows of an annotation, as the function `read` does. Raises AnnotationError."""
        return read(join(self.url, name), columns)

    def scored(self, name: str) -> Scored:
        """Tell what an annotation was made of. Raises AnnotationError."""
        footer = read_footer(join(self.url, name))
        return Scored(footer.shard, footer.fingerprint)

    def footers(self, names: Iterable[str]) -> Iterator[Footer]:
        """Read footers by many threads, in order. Raises AnnotationError."""
        return map_ordered(read_footer, (join(self.url, name) for name in names), _THREADS)


def count_values(column: Any) -> dict[str, int]:
    """Count the values of a column of strings, most frequent first; nulls are left out."""
    counted = column.cast(pa.string()).value_counts()
    pairs = ((item["values"], item["counts"]) for item in counted.to_pylist())
    return dict(sorted(((v, n) for v, n in pairs if v is not None), key=lambda pair: -pair[1]))


def _column(field: Any, rows: Sequence[Annotation], shard: str) -> Any:
    if field.name == "shard":
        return pa.array([shard] * len(rows), pa.string()).cast(field.type)
    values = [getattr(row, field.name) for row in rows]
    if field.name == "tar_size":
        values = [size if size is not None and size <= _MAX_INT32 else None for size in values]
    if field.type == _LABEL:
        return pa.array(values, pa.string()).dictionary_encode().cast(field.type)
    return pa.array(values, field.type)
