"""Annotations made up, as runs would have left them: few of them row by row, or millions."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shardsift.columns import COLUMNS
from shardsift.config import Attributes
from shardsift.errors import ErrorCode
from shardsift.measures import (
    FEATURES,
    MACLIP,
    MACLIP_COLUMNS,
    AttributesMeasure,
    Contents,
    MeasureRecord,
)
from shardsift.outputs.annotation_encoder import AnnotationEncoder
from shardsift.outputs.digest import ROW_COLUMNS, digest_of
from shardsift.outputs.json_records import RunRecord, RunSummary
from shardsift.outputs.manifest import ManifestWriter, Totals
from shardsift.outputs.output_folder import MANIFEST, RUN_RECORD
from shardsift.outputs.run_folder import SUMMARY
from shardsift.outputs.sealed_table import ROW_GROUP_ROWS, SCHEMA, parse_footer
from shardsift.outputs.sketch import quantile_sketch
from shardsift.records import FailedShard, ShardIdentity
from shardsift.shards.names import annotation_name

Quality = float | ErrorCode
"""Score of a sample, or the code of its error."""


@dataclass(kw_only=True, slots=True)
class Annotation:
    """One row of an annotation file."""

    key: str
    index: int
    uid: str | None = None
    image_ext: str | None = None
    tar_offset: int | None = None
    tar_size: int | None = None
    width: int | None = None
    height: int | None = None
    crops: int | None = None
    quality: float | None = None
    q_sim: float | None = None
    q_mag: float | None = None
    w_sim: float | None = None
    quality_min: float | None = None
    quality_std: float | None = None
    sha256: bytes | None = None
    phash: int | None = None
    attributes: Mapping[str, float] = field(default_factory=dict[str, float])
    error: ErrorCode | None = None
    error_message: str | None = None


def contents(
    fingerprint: str = "made-up",
    config: Mapping[str, Any] | None = None,
    attributes: Attributes | None = None,
) -> Contents:
    """Make the contents of a run's annotations."""
    measures = {
        MACLIP: MeasureRecord(digest=fingerprint, columns=MACLIP_COLUMNS, needs=(FEATURES,))
    }
    if attributes:
        measures["attributes"] = AttributesMeasure(attributes, fingerprint).record
    return Contents(measures=measures, config=config or {})


def encode(
    rows: Sequence[Annotation], *, shard: ShardIdentity, holding: Contents | None = None
) -> bytes:
    """The annotation file of a shard with these rows."""
    encoder = AnnotationEncoder(shard, holding or contents())
    for begin in range(0, len(rows), ROW_GROUP_ROWS):
        part = rows[begin : begin + ROW_GROUP_ROWS]
        columns = {c.name: [getattr(row, c.name, None) for row in part] for c in COLUMNS}
        for column in encoder.contents.further:
            name = column.name.removeprefix("attr_")
            columns[column.name] = [row.attributes.get(name) for row in part]
        encoder.add(columns)
    return encoder.finish().annotation


def row(index: int, quality: Quality, **fields: Any) -> Annotation:
    """One sample; what `fields` don't say is made up."""
    made_up: dict[str, Any] = {"key": f"k{index}", "uid": f"{index:032x}", "image_ext": "jpg"}
    if isinstance(quality, ErrorCode):
        made_up |= {"error": quality, "error_message": "made up"}
    else:
        made_up |= {"width": 100 + index, "height": 200, "crops": 1, "quality": quality}
        made_up |= {"q_sim": quality, "q_mag": 1 - quality, "w_sim": 0.5}
        made_up |= {"quality_min": quality, "quality_std": 0.0}
    return Annotation(index=index, **(made_up | fields))


def write_annotations(
    folder: Path,
    shards: Mapping[str, Sequence[Quality | Annotation]],
    failed: Iterable[str] = (),
    fingerprint: str = "made-up",
    attributes: Attributes | None = None,
) -> Path:
    """A finished run of these shards."""
    holding = contents(fingerprint, attributes=attributes)
    with ManifestWriter() as manifest:
        for shard, samples in shards.items():
            rows = [
                sample if isinstance(sample, Annotation) else row(index, sample)
                for index, sample in enumerate(samples)
            ]
            identity = ShardIdentity(path=shard, size=1, version="1")
            data = encode(rows, shard=identity, holding=holding)
            path = folder / annotation_name(shard)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            metadata = pq.read_schema(pa.BufferReader(data)).metadata
            manifest.add(parse_footer(metadata).report)
        for shard in failed:
            manifest.add(FailedShard(shard=shard, url=shard, reason="cut", attempts=3))
        sha256 = manifest.commit(str(folder / MANIFEST))
    _write_records(folder, holding, manifest.totals, sha256)
    return folder


def _write_records(folder: Path, holding: Contents, totals: Totals, manifest: str) -> None:
    record = RunRecord(
        fingerprint=holding.fingerprint,
        config=dict(holding.config),
        measures=dict(holding.measures),
        root="/c",
        inputs=(),
        version="0",
    )
    (folder / RUN_RECORD).write_bytes(record.encode())
    pace = {"actors": 1, "seconds": 1.0, "images_per_second": 1.0, "stage_seconds": {}}
    counts = totals.as_dict() | {"fingerprint": holding.fingerprint, "manifest": manifest}
    (folder / SUMMARY).write_bytes(RunSummary.model_validate(counts | pace).encode())


def write_many(folder: Path, files: int, rows: int, seed: int = 0) -> Path:
    """A run of `files` shards of `rows` samples; 3 % have no score, and many qualities are equal.

    A fifth of the rows have the `phash` of others, some in other files.

    There is no manifest, so the footers have to be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        shard = f"{number:05}.tar"
        table, report = _made_up(shard, rows, np.random.default_rng([seed, number]))
        pq.write_table(
            table.replace_schema_metadata(report),
            folder / annotation_name(shard),
            row_group_size=1 << 16,
            compression="zstd",
            use_dictionary=["shard", "image_ext", "error"],  # pyright: ignore[reportArgumentType]
        )
    _write_records(folder, contents(), Totals(), "")
    return folder


def _made_up(shard: str, rows: int, dice: np.random.Generator) -> tuple[Any, dict[bytes, bytes]]:
    """A table of annotations, and its metadata."""
    has_error = dice.random(rows) < 0.03
    quality = dice.beta(6, 4, rows).astype(np.float32)
    quality = np.where(dice.random(rows) < 0.3, np.round(quality, 3), quality)
    score = pa.array(quality, pa.float32(), mask=has_error)
    side = pa.array(dice.integers(64, 2048, rows), pa.int32(), mask=has_error)
    number = np.arange(rows)
    stem = int(shard.removesuffix(".tar"))
    uids = np.frombuffer(dice.bytes(16 * rows), "V16")
    own = dice.integers(1 << 32, 1 << 64, rows, np.uint64)
    shared = dice.integers(0, 1 << 20, rows, np.uint64)
    phash = np.where(dice.random(rows) < 0.2, shared, own)
    made_up: dict[str, Any] = {
        "key": pa.array([f"{stem:05}{n:06}" for n in range(rows)]),
        "shard": pa.array([shard] * rows),
        "index": pa.array(number, pa.int32()),
        "uid": pa.array([uid.tobytes().hex() for uid in uids]),
        "phash": pa.array(phash, mask=has_error),
        "width": side,
        "height": side,
        "error": pa.array(["truncated"] * rows, mask=~has_error),
    }
    made_up |= dict.fromkeys(("quality", "q_sim", "q_mag", "w_sim", "quality_min"), score)
    columns = [made_up.get(field.name, pa.nulls(rows)).cast(field.type) for field in SCHEMA]
    empty = encode([], shard=ShardIdentity(path=shard, size=1, version="1"))
    table = pa.Table.from_arrays(columns, schema=SCHEMA)
    metadata = pq.read_schema(pa.BufferReader(empty)).metadata | {
        b"shardsift.rows": str(rows).encode(),
        b"shardsift.errors": json.dumps({"truncated": int(has_error.sum())}).encode(),
        b"shardsift.sketch": base64.b64encode(quantile_sketch(quality[~has_error])),
        b"shardsift.digest": digest_of(table).encode(),
        b"shardsift.rows_digest": digest_of(table.select(list(ROW_COLUMNS))).encode(),
    }
    return table, metadata


def damage_row_group(path: Path, number: int) -> None:
    """Overwrite half of a row group of a Parquet file, and leave its footer."""
    group = pq.ParquetFile(path).metadata.row_group(number)
    columns = [group.column(place) for place in range(group.num_columns)]
    starts = [column.dictionary_page_offset or column.data_page_offset for column in columns]
    begin, size = min(starts), sum(column.total_compressed_size for column in columns)
    data = bytearray(path.read_bytes())
    data[begin : begin + size // 2] = bytes(size // 2)
    path.write_bytes(data)
