"""The output folder of `filter`, and its list of uids.

keep-list/….parquet   the kept samples of a shard, named as its annotations
uids.npy              DataComp's subset file
kept.txt dropped.txt  paths of a folder's pictures
_filter.json          the rule, and of which annotations; written first: a folder that has it may
                      be written anew
_summary.json         what became of all rows, written last: a reader looks for it
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Generator, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute
from pydantic import BaseModel, Json, NonNegativeInt, ValidationError

from shardsift.documents import Document, DocumentError, first_problem
from shardsift.errors import AnnotationError, InputError, OutputError
from shardsift.filtering.database import Database
from shardsift.outputs.beside import Beside
from shardsift.outputs.digest import digest_of
from shardsift.outputs.output_folder import AnnotatedShard, AnnotationSet
from shardsift.outputs.run_folder import SUMMARY, RunFolder, check_apart, check_output, local_folder
from shardsift.outputs.sealed_table import SCHEMA as ANNOTATIONS
from shardsift.outputs.sealed_table import (
    encode_sealed,
    own_metadata,
    read_metadata,
    read_own,
    shard_column,
)
from shardsift.redaction import reason
from shardsift.shards.names import annotation_name
from shardsift.storage.files import (
    Summing,
    absolute,
    committing,
    is_annotation,
    join,
    list_files,
    open_read,
    read_bytes,
)
from shardsift.storage.lease import is_held
from shardsift.storage.local import Guard, no_guard, prune
from shardsift.version import __version__

pc: Any = pyarrow.compute  # its functions are made at import, unseen by type checkers

DTYPE = np.dtype("u8,u8")
_HEX = "^[0-9a-fA-F]{32}$"


class UidWriter:
    """Takes in any number of uids; a database sorts them."""

    def __init__(self, database: Database) -> None:
        self.added: int = 0
        self._database = database
        database.run("CREATE TABLE uids (high UBIGINT, low UBIGINT)")

    def add(self, column: Any) -> None:
        """Take in those strings of a column that are 32 hexadecimal digits."""
        strings = column.cast(pa.string())
        is_uid = pc.fill_null(pc.match_substring_regex(strings, _HEX), fill_value=False)
        data = bytes.fromhex("".join(strings.filter(is_uid).to_pylist()))
        high_N, low_N = np.frombuffer(data, ">u8").astype(np.uint64).reshape(-1, 2).T
        self.added += len(high_N)
        source = pa.table({"high": high_N, "low": low_N})
        self._database.run("INSERT INTO uids SELECT high, low FROM arrow", {"arrow": source})

    def commit(self, url: str, guard: Guard = no_guard) -> tuple[int, str]:
        """Write the file to `url`; return the number of its uids, and its SHA-256."""
        self._database.run("CREATE TABLE once AS SELECT DISTINCT high, low FROM uids")
        ((written,),) = self._database.run("SELECT count(*) FROM once")
        with committing(url, guard) as file:
            summing = Summing(file)
            summing.writelines(self._parts(written))
        return written, summing.sha256

    def _parts(self, written: int) -> Iterator[bytes]:
        header = {"descr": DTYPE.descr, "fortran_order": False, "shape": (written,)}
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, header)
        yield head.getvalue()
        for batch in self._database.batches("SELECT high, low FROM once ORDER BY high, low"):
            pairs_N2 = np.column_stack([batch["high"].to_numpy(), batch["low"].to_numpy()])
            yield pairs_N2.astype("<u8").tobytes()


class PathWriter:
    """Writes the paths of pictures into two lists."""

    def __init__(self, kept: BinaryIO, dropped: BinaryIO, end: bytes) -> None:
        self._files = {KEPT: Summing(kept), DROPPED: Summing(dropped)}
        self._end = end
        self._counts = dict.fromkeys(self._files, 0)

    def add(self, name: str, paths: Sequence[str]) -> None:
        """Append paths to one of the lists. Raises InputError if one can't be told from two."""
        data = b"".join(path.encode() + self._end for path in paths)
        if data.count(self._end) != len(paths):
            odd = next(path for path in paths if "\n" in path)
            raise InputError(f"{odd!r}: a path with a line break; pass --null")
        self._files[name].write(data)
        self._counts[name] += len(paths)

    @property
    def counts(self) -> PathCounts:
        """Counts of both lists."""
        sums = {name: file.sha256 for name, file in self._files.items()}
        return PathCounts(kept=self._counts[KEPT], dropped=self._counts[DROPPED], sha256=sums)


Value = int | float | None
"""A value that a filter ranks by; None for none."""


class FilterRecord(Document):
    """`_filter.json`: the rule that all keep-lists of its folder were chosen by.

    `annotations` were filtered, of shards below `root` and with `fingerprint`; `beside` are the
    outputs of `--with`; `emitted` are the kinds of files to write.
    """

    annotations: str
    beside: tuple[str, ...]
    root: str
    fingerprint: str
    rule: dict[str, Any]
    threshold: Value
    emitted: tuple[str, ...]


class GroupCounts(Document):
    """A group of `--per`: its rows, the number of kept ones, and the lowest kept value."""

    name: str
    rows: int
    kept: int
    threshold: Value


class UidCounts(Document):
    """Counts of `uids.npy`: uids written and left out; and its SHA-256."""

    written: int
    repeated: int
    without_uid: int
    sha256: str


class PathCounts(Document):
    """Counts of `kept.txt` and `dropped.txt`: their paths and SHA-256 sums."""

    kept: int
    dropped: int
    sha256: dict[str, str]


class JoinCounts(Document):
    """Counts of a table: annotations that it has, its own rows, and those of these that match."""

    table: str
    on: str
    rows: int
    table_rows: int
    table_rows_found: int


class FilterSummary(Document):
    """`_summary.json`: counts of all rows by outcome, and the rule.

    kept                 with a score, and without (`kept_without_score`, by error code)
    below_threshold      worse than the threshold
    tied_at_threshold    as good as the threshold, and yet one too many
    without_value        of what the filter goes by
    errors               dropped for want of a score, by error code
    """

    rows: int
    kept: int
    kept_without_score: dict[str, int]
    below_threshold: int
    tied_at_threshold: int
    excluded_by_where: int
    excluded_by_list: int
    duplicates: int
    without_value: int
    errors: dict[str, int]
    shards: int
    failed_shards: tuple[str, ...]
    missing_shards: tuple[str, ...]
    run_is_finished: bool
    threshold: Value
    groups: tuple[GroupCounts, ...]
    joined: tuple[JoinCounts, ...]
    uids: UidCounts | None
    paths: PathCounts | None = None
    emitted: tuple[str, ...]
    rule: dict[str, Any]
    fingerprint: str

    @property
    def counted(self) -> int:
        """All rows, by the counts of what became of them."""
        ranked = self.kept + self.below_threshold + self.tied_at_threshold
        left_out = self.excluded_by_where + self.excluded_by_list + self.duplicates
        return ranked + left_out + self.without_value + sum(self.errors.values())


KEEP_LIST = "keep-list"
"""The folder that has the keep-lists."""

UIDS = "uids.npy"
KEPT, DROPPED = "kept.txt", "dropped.txt"
LISTS = {UIDS: "uids", KEPT: "paths", DROPPED: "paths"}
"""Single files, and what `--emit` calls them."""

RECORD = "_filter.json"

SCHEMA = pa.schema(
    [ANNOTATIONS.field(name) for name in ("shard", "key", "index", "uid", "quality")]
)
"""Columns of a keep-list; `quality` is null if a sample without a score is kept."""


# --- a keep-list -----------------------------------------------------------------------------


class KeepListFooter(BaseModel):
    """Metadata of a keep-list, with our prefix.

    `shard_rows` is the number of the shard's rows, `rows` that of the kept ones; `filter` is the
    rule that these were chosen by; `annotation` the digest of all rows of the shard's annotation,
    `beside` those of the outputs of `--with`, null for one that lacks the shard; `digest` is that
    of the kept rows.
    """

    shard: str
    rows: NonNegativeInt
    shard_rows: NonNegativeInt
    digest: str
    annotation: str
    beside: Json[list[str | None]]
    fingerprint: str
    filter: Json[dict[str, Any]]
    threshold: Json[int | float | None]

    @classmethod
    def parse(cls, metadata: Mapping[bytes, bytes]) -> KeepListFooter:
        """Parse the metadata of a Parquet schema. Raises ValueError."""
        try:
            return cls.model_validate(own_metadata(metadata))
        except ValidationError as error:
            raise ValueError(first_problem(error)) from error


@dataclass(frozen=True, slots=True)
class KeepListFile:
    """The kept samples of a shard, a `pyarrow.Table`, and what their file says of itself."""

    table: Any
    footer: KeepListFooter


# --- writing ---------------------------------------------------------------------------------


class KeptFolder(RunFolder):
    """Writes the output of a filter; if that fails, no file of it stays."""

    def __init__(self, url: str, annotations: str, names: Set[str], *, overwrite: bool) -> None:
        """Claim the folder, and change nothing in it; `names` are those of annotations.

        Raises:
            OutputError: if it holds something else, or a finished filter without `overwrite`.
        """
        check_apart(url, annotations)
        super().__init__(url)
        self._annotations = absolute(annotations)
        self._overwrite = overwrite
        self._known = {f"{KEEP_LIST}/{name}" for name in names}
        self._written: set[str] = set()
        self._record: FilterRecord | None = None
        self._outputs: Sequence[Beside] = ()
        self._claim()
        folder = local_folder(url)
        self._new_folder = None if folder is None or folder.exists() else folder

    def _claim(self) -> None:
        """Find files of an earlier filter. Raises OutputError if they may not be replaced."""
        url, files = self.url, self.files
        self._lists = {n for n in files if n.startswith(f"{KEEP_LIST}/") and is_annotation(n)}
        emitted: Sequence[str] = ()
        with suppress(OSError, DocumentError):
            emitted = FilterRecord.decode(read_bytes(join(url, RECORD))).emitted

        def is_own(name: str) -> bool:
            if RECORD not in files:
                return False
            if name in LISTS:
                return LISTS[name] in emitted
            is_named = name in self._known and KEEP_LIST in emitted
            return is_named or self._is_own_list(name)

        self.check_own("filter", self._lists | (LISTS.keys() & files), is_own)
        if SUMMARY in files and RECORD not in files:
            raise OutputError(f"{url}: is the output of a run; choose another --output")
        if SUMMARY in files and not self._overwrite:
            raise OutputError(
                f"{url}: holds the output of an earlier filter; choose another --output, or "
                "--overwrite to replace it"
            )

    @contextmanager
    def writing(self) -> Generator[None]:
        """Hold the folder while the block writes into it.

        Raises:
            OutputError: if it can't be written, or another command writes there.
        """
        check_output(self.url, ())
        try:
            with self.hold() as lease:
                self.files: set[str] = RunFolder(self.url).files
                self._claim()  # another filter may have finished meanwhile
                try:
                    yield
                except BaseException:
                    if lease.is_mine():  # else another filter has taken the folder over
                        with suppress(OutputError):  # report the first error, not this one
                            self.delete_all(self._written)
                    raise
        except BaseException:
            if self._new_folder:
                prune(self._new_folder)
            raise

    def begin(
        self, summary: FilterSummary, found: AnnotationSet, outputs: Sequence[Beside]
    ) -> None:
        """Delete files of an earlier filter, and record the rule of this one."""
        self.sweep()
        self.delete_all([SUMMARY])
        self.delete_all(self._lists | ({RECORD, *LISTS} & self.files))
        self._outputs = outputs
        self._record = FilterRecord(
            annotations=self._annotations,
            beside=tuple(absolute(output.url) for output in outputs),
            root=found.root,
            fingerprint=found.fingerprint,
            rule=summary.rule,
            threshold=summary.threshold,
            emitted=summary.emitted,
        )
        self.commit(RECORD, self._record.encode())

    def _is_own_list(self, name: str) -> bool:
        """Return whether a file is the keep-list of the shard that it is named after."""
        told = read_metadata(join(self.url, name))
        shard = told.get("shard", "") if "filter" in told else ""
        return f"{KEEP_LIST}/{annotation_name(shard)}" == name

    def commit(self, name: str, data: bytes) -> None:
        """Write a file, and note that it is there. Threads may call it."""
        self._written.add(name)
        super().commit(name, data)

    def add(self, annotated: AnnotatedShard, rows: Any) -> None:
        """Write the keep-list of a shard, even an empty one. Threads may call it."""
        assert self._record, "begun before"
        record = self._record
        named = rows.append_column("shard", shard_column(annotated.shard, len(rows)))
        table = named.select(SCHEMA.names).cast(SCHEMA)
        metadata = {
            "shard": annotated.shard,
            "rows": str(len(table)),
            "shard_rows": str(annotated.rows),
            "digest": digest_of(table),
            "annotation": annotated.digest,
            "beside": json.dumps([output.digests.get(annotated.name) for output in self._outputs]),
            "fingerprint": record.fingerprint,
            "filter": json.dumps(record.rule, sort_keys=True),
            "threshold": json.dumps(record.threshold),
            "version": __version__,
        }
        self.commit(f"{KEEP_LIST}/{annotated.name}", encode_sealed([table], SCHEMA, metadata))

    def add_uids(self, uids: UidWriter) -> tuple[int, str]:
        """Write DataComp's subset file; return the number of its uids, and its SHA-256."""
        self._written.add(UIDS)
        return uids.commit(join(self.url, UIDS), self.guard)

    @contextmanager
    def open_paths(self, *, ends_with_null: bool) -> Generator[PathWriter]:
        """Open `kept.txt` and `dropped.txt`, which appear if the block ends without an error."""
        self._written |= {KEPT, DROPPED}
        with (
            committing(join(self.url, KEPT), self.guard) as kept,
            committing(join(self.url, DROPPED), self.guard) as dropped,
        ):
            yield PathWriter(kept, dropped, b"\0" if ends_with_null else b"\n")

    def finish(self, summary: FilterSummary) -> None:
        """Write the summary, once everything is there. Raises OutputError if it isn't."""
        assert self.lease, "held while the block runs"
        self.lease.check()
        if lost := self._written - list_files(self.url):
            raise OutputError(
                f"{self.url}: {min(lost)} and {len(lost) - 1:,} others have disappeared; filter "
                "again"
            )
        self.write_summary(summary)


# --- reading ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Filtered:
    """A finished filter: its record and its summary.

    `digest` is that of the summary, and another one if another rule or other scores were used.
    """

    url: str
    record: FilterRecord
    summary: FilterSummary
    digest: str

    @property
    def without(self) -> Sequence[str]:
        """The shards that have no annotation."""
        return [*self.summary.failed_shards, *self.summary.missing_shards]

    def read(self, name: str, columns: Sequence[str] | None = None) -> KeepListFile:
        """Read the keep-list of the shard whose annotation has this name.

        Raises:
            AnnotationError: if it isn't one of this filter, or a damaged one.
        """
        location = join(join(self.url, KEEP_LIST), name)
        try:
            with open_read(location) as file:
                return self.parse(file, name, columns)
        except (OSError, pa.ArrowException, ValueError, KeyError) as error:
            raise AnnotationError(
                f"{location}: not a keep-list of this filter: {reason(error)}; filter again"
            ) from error

    def parse(self, file: Any, name: str, columns: Sequence[str] | None = None) -> KeepListFile:
        """Read an open file that should be the keep-list of this name; all rows by their digest.

        Raises OSError, ArrowException, ValueError or KeyError if it is another one.
        """
        metadata, table = read_own(file, pa.schema(map(SCHEMA.field, columns or SCHEMA.names)))
        footer, record = KeepListFooter.parse(metadata), self.record
        if annotation_name(footer.shard) != name:
            raise ValueError(f"is that of {footer.shard}")
        for what, told, expected in (
            ("fingerprint", footer.fingerprint, record.fingerprint),
            ("rule", footer.filter, record.rule),
            ("threshold", footer.threshold, record.threshold),
            ("number of rows", footer.rows, len(table)),
        ):
            if told != expected:
                raise ValueError(f"its {what} is {told}, but has to be {expected}")
        if columns is None and digest_of(table) != footer.digest:
            raise ValueError("its rows don't match its digest")
        return KeepListFile(table, footer)


def read_filtered(url: str) -> Filtered:
    """Read the record and the summary of a filter. Raises InputError if it never finished."""
    try:
        told = read_bytes(join(url, SUMMARY))
        record = FilterRecord.decode(read_bytes(join(url, RECORD)))
        summary = FilterSummary.decode(told)
    except FileNotFoundError as error:
        now = " (one writes here now, or was killed)" if is_held(url) else ""
        raise InputError(
            f"{url}: no finished filter here{now}; name the --output of `shardsift filter`"
        ) from error
    except (OSError, DocumentError) as error:
        raise InputError(f"{url}: not the output of a filter: {reason(error)}") from error
    if (record.fingerprint, record.rule, record.threshold) != (
        *(summary.fingerprint, summary.rule, summary.threshold),
    ):
        raise InputError(f"{url}: {RECORD} and {SUMMARY} come from two filters; filter again")
    return Filtered(
        url=url, record=record, summary=summary, digest=hashlib.sha256(told).hexdigest()[:16]
    )
