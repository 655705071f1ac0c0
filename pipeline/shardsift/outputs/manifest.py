"""`_manifest.arrow`: a row a shard, and sums of the rows."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import pyarrow as pa

from shardsift.errors import AnnotationError, ErrorCode
from shardsift.outputs.sealed_table import decode_spreads, encode_spreads
from shardsift.outputs.sketch import QuantileMerger, count_of
from shardsift.records import EXAMPLES, FailedShard, PassedOver, ShardReport, Spread, StageSeconds
from shardsift.storage.files import commit_file, open_read
from shardsift.storage.local import Guard, make_scratch, naming_scratch, no_guard

SCHEMA = pa.schema(
    [
        pa.field("shard", pa.string(), nullable=False),
        pa.field("failed", pa.bool_(), nullable=False),
        pa.field("rows", pa.int64()),
        *(pa.field(str(code), pa.int64()) for code in ErrorCode),
        pa.field("sketch", pa.binary()),
        pa.field("seconds", pa.float64()),
        *(pa.field(str(code), pa.int64()) for code in PassedOver),
        pa.field("digest", pa.string()),
        pa.field("spreads", pa.string()),
        pa.field("measures", pa.string()),
    ]
)
"""Columns of the manifest: counts are null for a shard that was given up (`failed`).

sketch           KLL sketch of the shard's `quality`
seconds          that scoring took; null if a run that did not finish committed the shard
further_images …  what was passed over, by `PassedOver`
digest           of the values of the shard's rows
spreads          JSON: number, sum, sum of squares, lowest and highest of a column's values
measures         JSON: the digest of each measure

An Arrow IPC file and not Parquet, because readers of annotations read all Parquet files.
"""

SUFFIX = ".arrow"
_BATCH_ROWS = 1 << 12
_WRITTEN = pa.ipc.IpcWriteOptions(compression="zstd")

QUANTILE_RANKS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclass(slots=True)
class Totals:
    """Sums over the reports of shards."""

    shards: int = 0
    failed_shards: int = 0
    rows: int = 0
    passed_over: Counter[str] = field(default_factory=Counter[str])
    errors: Counter[str] = field(default_factory=Counter[str])
    stages: dict[str, StageSeconds] = field(default_factory=dict[str, StageSeconds])
    spreads: dict[str, Spread] = field(default_factory=dict[str, Spread])
    quality: QuantileMerger = field(default_factory=QuantileMerger)
    further: list[str] = field(default_factory=list[str])

    def add(self, outcome: ShardReport | FailedShard) -> None:
        """Count one more shard."""
        if isinstance(outcome, FailedShard):
            self.failed_shards += 1
            return
        self.shards += 1
        self.rows += outcome.rows
        self.passed_over.update(outcome.passed_over)
        self.errors.update(outcome.errors)
        for stage, seconds in outcome.stages.items():
            self.stages[stage] = self.stages.get(stage, StageSeconds()) + seconds
        self.add_spreads(outcome.spreads)
        self.quality.add(outcome.sketch)
        self.further += outcome.further[: EXAMPLES - len(self.further)]

    def add_spreads(self, spreads: Mapping[str, Spread]) -> None:
        """Add the spreads of a shard's columns."""
        for name, spread in spreads.items():
            known = self.spreads.get(name)
            self.spreads[name] = known + spread if known else spread

    @property
    def scored(self) -> int:
        """Rows that have a quality."""
        return self.quality.values

    def as_dict(self) -> dict[str, Any]:
        """Return counts, quantiles of `quality` (null without scored rows), and means."""
        quantiles = self.quality.quantiles(QUANTILE_RANKS)
        names = [f"{rank:g}" for rank in QUANTILE_RANKS]
        return {
            "shards": self.shards,
            "failed_shards": self.failed_shards,
            "rows": self.rows,
            "scored": self.scored,
            "errors": {str(code): self.errors[code] for code in ErrorCode},
            "passed_over": {str(code): self.passed_over[code] for code in PassedOver},
            "quality_quantiles": quantiles and dict(zip(names, quantiles, strict=True)),
            "means": {name: spread.mean for name, spread in sorted(self.spreads.items())},
        }


class ManifestWriter:
    """Writes rows to a local scratch file as they come; memory doesn't grow with their number."""

    def __init__(self) -> None:
        self.totals: Totals = Totals()
        self._held: list[dict[str, Any]] = []
        self._folder = make_scratch()
        self._path = Path(self._folder.name) / f"manifest{SUFFIX}"
        self._writer = pa.ipc.new_file(str(self._path), SCHEMA, options=_WRITTEN)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()
        self._folder.cleanup()

    def add(self, outcome: ShardReport | FailedShard) -> None:
        """Append the row of a shard."""
        self.totals.add(outcome)
        self._held.append(_row(outcome))
        if len(self._held) == _BATCH_ROWS:
            self._flush()

    def add_failed(self, shard: str) -> None:
        """Append the row of a shard that was given up."""
        self.add(FailedShard(shard=shard, url="", reason="", attempts=0))

    def commit(self, url: str, guard: Guard = no_guard) -> str:
        """Make the manifest appear at `url`, and return its SHA-256.

        Nothing can be added afterwards.
        """
        self._flush()
        with naming_scratch():
            self._writer.close()
        commit_file(url, self._path, guard)
        with self._path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _flush(self) -> None:
        with naming_scratch():
            self._writer.write_table(pa.Table.from_pylist(self._held, SCHEMA))
        self._held.clear()


def read_manifest(url: str) -> Generator[ShardReport]:
    """Yield the committed shards of a manifest; none if there is no manifest.

    Raises:
        AnnotationError: if the file is not a manifest.
    """
    for _, report in read_outcomes(url):
        if report is not None:
            yield report


def read_outcomes(url: str) -> Generator[tuple[str, ShardReport | None]]:
    """Yield the names of all shards of a manifest, and their reports: None for one that failed."""
    try:
        for row in _read_rows(url):
            yield row["shard"], None if row["failed"] else _report(row)
    except FileNotFoundError:
        return
    except (OSError, pa.ArrowException, ValueError, TypeError) as error:
        raise AnnotationError(f"{url}: not a manifest of Shardsift: {error}") from error


def _read_rows(url: str) -> Iterator[dict[str, Any]]:
    with open_read(url) as file:
        reader = pa.ipc.open_file(file)
        if not reader.schema.equals(SCHEMA):
            raise ValueError("has wrong columns")
        for place in range(reader.num_record_batches):
            batch = reader.get_batch(place)
            batch.validate(full=True)
            yield from cast(list[dict[str, Any]], batch.to_pylist())


def _row(outcome: ShardReport | FailedShard) -> dict[str, Any]:
    if isinstance(outcome, FailedShard):
        return {"shard": outcome.shard, "failed": True}
    return {
        "shard": outcome.shard,
        "failed": False,
        "rows": outcome.rows,
        **{str(code): outcome.errors.get(code, 0) for code in ErrorCode},
        "sketch": outcome.sketch,
        "seconds": outcome.seconds,
        **{str(code): outcome.passed_over.get(code, 0) for code in PassedOver},
        "digest": outcome.digest,
        "spreads": json.dumps(encode_spreads(outcome.spreads)),
        "measures": json.dumps(outcome.measures, sort_keys=True),
    }


def _report(row: dict[str, Any]) -> ShardReport:
    count_of(row["sketch"])  # raises if the sketch is damaged
    return ShardReport(
        shard=row["shard"],
        rows=row["rows"],
        errors={str(code): row[code] for code in ErrorCode if row[code]},
        sketch=row["sketch"],
        seconds=row["seconds"],
        passed_over={str(code): row[code] for code in PassedOver if row[code]},
        digest=row["digest"],
        spreads=decode_spreads(json.loads(row["spreads"])),
        measures=json.loads(row["measures"]),
    )
