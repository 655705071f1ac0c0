"""The plan of a reshard: the samples of each output shard.

Kept samples keep their order, so an output shard is a few runs of neighbours: a first and a last
index of a source shard, and the number of kept samples between.

Suffix: _N is the number of kept samples of a source shard.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from shardsift.errors import OutputError
from shardsift.redaction import reason
from shardsift.storage.files import PARQUET_SUFFIX, SHARD_SUFFIX, join, read_bytes

SHARD_FORMATS = {"tar": "{:08d}" + SHARD_SUFFIX, "parquet": "data/{:08d}" + PARQUET_SUFFIX}
"""Names of new shards by kind: tars as DataComp's resharder names them, Parquet files in a folder
where nothing else is."""

_SCHEMA = pa.schema(
    [
        pa.field("output", pa.int32(), nullable=False),
        pa.field("shard", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("first", pa.int32(), nullable=False),
        pa.field("last", pa.int32(), nullable=False),
        pa.field("samples", pa.int32(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
    ]
)
"""Columns of a saved plan: `output` is the number of an output shard, `bytes` an estimate."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """Kept samples of a source shard, from index `first` to `last`; `bytes` is an estimate."""

    shard: str
    url: str
    first: int
    last: int
    samples: int
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ReshardTask:
    """One output shard: its name, its location, and its segments."""

    shard: str
    url: str
    segments: Sequence[Segment]

    @property
    def samples(self) -> int:
        """The samples of all segments."""
        return sum(segment.samples for segment in self.segments)

    @property
    def bytes(self) -> int:
        """Its size, about."""
        return sum(segment.bytes for segment in self.segments)


@dataclass(frozen=True, slots=True)
class ReshardPlan:
    """A row a segment, in order. `root` is the folder of the sources, `output` of the new shards,
    whose names have the format `form`."""

    table: Any
    root: str
    output: str
    form: str

    def __iter__(self) -> Iterator[ReshardTask]:
        segments: list[Segment] = []
        number = 0
        for batch in self.table.to_batches(max_chunksize=1 << 16):
            for row in cast(list[dict[str, Any]], batch.to_pylist()):
                if row["output"] != number:
                    yield self._task(number, segments)
                    segments, number = [], row["output"]
                del row["output"]
                segments.append(Segment(url=join(self.root, row["shard"]), **row))
        yield self._task(number, segments)

    def __len__(self) -> int:
        """Count the output shards."""
        return self.table["output"][-1].as_py() + 1

    @property
    def samples(self) -> int:
        """The samples of all output shards."""
        return sum(self.table["samples"].to_pylist())

    def encode(self) -> bytes:
        """Encode it as a Parquet file; equal plans give equal bytes."""
        sink = io.BytesIO()
        pq.write_table(self.table, sink, compression="zstd")
        return sink.getvalue()

    def _task(self, number: int, segments: list[Segment]) -> ReshardTask:
        name = self.form.format(number)
        return ReshardTask(shard=name, url=join(self.output, name), segments=tuple(segments))


def read_plan(url: str, sha256: str, root: str, output: str, form: str) -> ReshardPlan:
    """Read the plan whose file has this sum. Raises OutputError if it isn't that one."""
    try:
        data = read_bytes(url)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ValueError("it doesn't match the record beside it")
        return ReshardPlan(pq.read_table(pa.BufferReader(data)).cast(_SCHEMA), root, output, form)
    except (OSError, pa.ArrowException, ValueError) as error:
        raise OutputError(
            f"{url}: not a plan ({reason(error)}); --overwrite to plan again"
        ) from error


def stats_name(shard: str) -> str:
    """Name the counts of a shard, as img2dataset and DataComp's resharder do.

    `shard` is a name, or a location.
    """
    if shard.endswith(PARQUET_SUFFIX):
        folder, _, name = shard.removesuffix(PARQUET_SUFFIX).rpartition("data/")
        return f"{folder}{name}_stats.json"
    return f"{shard.removesuffix(SHARD_SUFFIX)}_stats.json"


def is_new_shard(name: str) -> bool:
    """Return whether a name below an output can be that of a new shard."""
    is_parquet = name.startswith("data/") and name.endswith(PARQUET_SUFFIX)
    return name.endswith(SHARD_SUFFIX) or is_parquet


@dataclass(kw_only=True, slots=True)
class Packer:
    """Fills output shards one after the other, up to `max_samples` and about `max_bytes`.

    Neighbours of one key never get into the same: a reader would take them for one sample.
    """

    max_samples: int | None
    max_bytes: int | None
    _rows: dict[str, list[Any]] = field(
        default_factory=lambda: {name: list[Any]() for name in _SCHEMA.names}
    )
    _output: int = 0
    _samples: int = 0
    _bytes: int = 0
    _last_key: str | None = None

    def add(
        self, shard: str, index_N: NDArray[np.int32], keys: Any, sizes_N: Sequence[int]
    ) -> None:
        """Take in the kept samples of a source shard: indices, keys (an Arrow array), bytes.

        `keys` are None if samples get new ones.
        """
        if not len(index_N):
            return
        breaks = [len(index_N)]
        if keys is not None:
            names = np.asarray(keys.to_numpy(zero_copy_only=False))
            repeats_N = np.concatenate([[names[0] == self._last_key], names[1:] == names[:-1]])
            self._last_key = str(names[-1])
            breaks = [*np.flatnonzero(repeats_N).tolist(), len(index_N)]
        ends_N = np.cumsum(sizes_N)
        begin = 0
        for stop in breaks:
            while begin < stop:
                begin = self._fill(shard, index_N, ends_N, begin, stop)
            if stop < len(index_N):
                self._close()

    def plan(self, root: str, output: str, form: str) -> ReshardPlan:
        """Return the plan."""
        table = pa.table([pa.array(self._rows[f.name], f.type) for f in _SCHEMA], schema=_SCHEMA)
        return ReshardPlan(table, root, output, form)

    def _fill(
        self,
        shard: str,
        index_N: NDArray[np.int32],
        ends_N: NDArray[np.int64],
        begin: int,
        stop: int,
    ) -> int:
        """Put samples into the open shard; return the number of samples taken."""
        before = int(ends_N[begin - 1]) if begin else 0
        end = stop
        if self.max_samples is not None:
            end = min(end, begin + self.max_samples - self._samples)
        if self.max_bytes is not None:
            room = before + self.max_bytes - self._bytes
            end = min(end, int(np.searchsorted(ends_N, room, "right")))
        if end <= begin:
            if self._samples:
                self._close()
                return begin
            end = begin + 1  # a sample that is larger than a shard gets a shard of its own
        size = int(ends_N[end - 1]) - before
        row = self._output, shard, int(index_N[begin]), int(index_N[end - 1]), end - begin, size
        for column, value in zip(self._rows.values(), row, strict=True):
            column.append(value)
        self._samples += end - begin
        self._bytes += size
        return end

    def _close(self) -> None:
        if self._samples:
            self._output += 1
            self._samples = self._bytes = 0
