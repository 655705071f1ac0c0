"""The output folder of `filter`.

keep-list/….parquet   the kept samples of a shard, named as its annotations
uids.npy              DataComp's subset file
_filter.json          the rule, and of which annotations; written first: a folder that has it may
                      be written anew
_summary.json         what became of all rows, written last: a reader looks for it
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shardsift.annotations.folder import SUMMARY, check_apart, check_output, local_folder
from shardsift.annotations.survey import Part, Survey
from shardsift.documents import DocumentError
from shardsift.errors import InputError, OutputError, WriteError
from shardsift.filter.documents import FilterRecord, FilterSummary, Value
from shardsift.filter.keep_list import (
    KEEP_LIST,
    KeepListFile,
    encode_keep_list,
    parse_keep_list_footer,
    read_keep_list,
)
from shardsift.filter.uids import UidWriter
from shardsift.redaction import reason
from shardsift.shards.names import annotation_name
from shardsift.storage.files import (
    absolute,
    commit,
    delete,
    is_annotation,
    join,
    list_files,
    open_read,
    read_bytes,
)
from shardsift.storage.lease import Lease, held, is_held
from shardsift.storage.local import Guard, behind_links, prune, sweep
from shardsift.threads import map_ordered

_THREADS = 32

UIDS = "uids.npy"
RECORD = "_filter.json"


class KeptFolder:
    """Writes what a filter keeps; if that goes wrong, nothing of it stays."""

    def __init__(self, url: str, annotations: str, *, overwrite: bool) -> None:
        """Claim the folder, and change nothing in it.

        Raises:
            OutputError: if it holds something else, or a finished filter without `overwrite`.
        """
        self.url = url
        self._annotations = absolute(annotations)
        self._overwrite = overwrite
        self._written: set[str] = set()
        self._record: FilterRecord | None = None
        self._lease: Lease | None = None
        check_apart(url, annotations)
        self._stale = self._claim()
        folder = local_folder(url)
        self._new_folder = None if folder is None or folder.exists() else folder

    def _claim(self) -> set[str]:
        """Return the names of what an earlier filter has left, which may be replaced."""
        url, files = self.url, list_files(self.url)
        lists = {name for name in files if name.startswith(f"{KEEP_LIST}/") and is_annotation(name)}
        emitted = _emitted(url)
        self._lists, self._emitted = lists, emitted
        mine = {UIDS} & files if "uids" in emitted else set[str]()
        local = local_folder(url)
        theirs = {UIDS} & files - mine
        theirs |= behind_links(local, lists) if local else set[str]()
        theirs |= set() if RECORD in files else lists
        if theirs:
            raise OutputError(
                f"{url}: holds {min(theirs)}, which no filter here has recorded, or which lies "
                "behind a link; choose another --output"
            )
        if SUMMARY in files and RECORD not in files:
            raise OutputError(f"{url}: is the output of a run; choose another --output")
        if SUMMARY in files and not self._overwrite:
            raise OutputError(
                f"{url}: holds what an earlier filter has kept; choose another --output, "
                "or --overwrite to replace it"
            )
        return mine | (files & {SUMMARY, RECORD})

    @contextmanager
    def writing(self) -> Generator[None]:
        """Hold the folder while the block writes into it.

        Raises:
            OutputError: if it can't be written, or another command writes there.
        """
        check_output(self.url, ())
        try:
            with held(self.url) as self._lease:
                self._stale = self._claim()  # another filter may have come to its end meanwhile
                try:
                    yield
                except BaseException:
                    self._delete_written()
                    raise
        except BaseException:
            if self._new_folder:
                prune(self._new_folder)
            raise

    def _delete_written(self) -> None:
        assert self._lease, "held while the block runs"
        if self._lease.is_mine():  # or it may be another one's by now
            with suppress(WriteError):  # what went wrong first is what matters
                for name in sorted(self._written):
                    delete(join(self.url, name))

    def begin(
        self, rule: Mapping[str, Any], emitted: Sequence[str], threshold: Value, found: Survey
    ) -> None:
        """Delete what an earlier filter has written, and say what this one does.

        Raises:
            OutputError: if somebody else's files lie among keep-lists.
        """
        known = {f"{KEEP_LIST}/{part.name}" for part in found.parts}
        unknown = sorted(self._lists - known if "keep-list" in self._emitted else self._lists)
        own = map_ordered(partial(_is_own_list, self.url), unknown, _THREADS)
        if theirs := [name for name, is_own in zip(unknown, own, strict=True) if not is_own]:
            raise OutputError(
                f"{self.url}: holds {theirs[0]}, which is no keep-list of a filter; move it away, "
                "or choose another --output"
            )
        self._stale |= self._lists
        if folder := local_folder(self.url):
            sweep(folder)
        assert self._lease, "held while the block runs"
        for name in sorted(self._stale, key=lambda name: name != SUMMARY):
            self._lease.guard()
            delete(join(self.url, name))
        self._record = FilterRecord(
            annotations=self._annotations,
            root=found.root,
            fingerprint=found.fingerprint,
            rule=dict(rule),
            threshold=threshold,
            emitted=tuple(emitted),
        )
        self._commit(RECORD, self._record.encode())

    def add(self, part: Part, rows: Any) -> None:
        """Write the keep-list of a shard, even an empty one. Threads may call it."""
        assert self._record, "begun before"
        data = encode_keep_list(part, rows, self._record)
        self._commit(f"{KEEP_LIST}/{part.name}", data)

    def add_uids(self, uids: UidWriter) -> tuple[int, str]:
        """Write DataComp's subset file; return the number of its uids, and its SHA-256."""
        return uids.commit(join(self.url, UIDS), self._guard(UIDS))

    def finish(self, summary: FilterSummary) -> None:
        """Write the summary, once everything is there. Raises OutputError if it isn't."""
        assert self._lease, "held while the block runs"
        self._lease.check()
        if lost := self._written - list_files(self.url):
            raise OutputError(
                f"{self.url}: {min(lost)} is not there any more, and {len(lost) - 1:,} "
                "others; filter again"
            )
        self._commit(SUMMARY, summary.encode())

    def _guard(self, name: str) -> Guard:
        """Note that a file is written; return what raises if the folder was taken over."""
        assert self._lease, "held while the block runs"
        self._written.add(name)
        return self._lease.guard

    def _commit(self, name: str, data: bytes) -> None:
        commit(join(self.url, name), data, self._guard(name))


@dataclass(frozen=True, kw_only=True, slots=True)
class Filtered:
    """A filter that has come to its end: its record and its summary.

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
        return read_keep_list(self.url, name, self.record, columns)


def _is_own_list(url: str, name: str) -> bool:
    """Return whether a file is the keep-list of the shard that it is named after."""
    try:
        with open_read(join(url, name)) as file:
            footer = parse_keep_list_footer(pq.read_schema(file).metadata or {})
    except (OSError, pa.ArrowException, ValueError):
        return False
    return f"{KEEP_LIST}/{annotation_name(footer.shard)}" == name


def _emitted(url: str) -> Sequence[str]:
    """Return the outputs that a filter has recorded; none if there is no record."""
    try:
        return FilterRecord.decode(read_bytes(join(url, RECORD))).emitted
    except (OSError, DocumentError):
        return ()


def read_filtered(url: str) -> Filtered:
    """Read what a filter says of itself. Raises InputError if none has come to its end."""
    try:
        told = read_bytes(join(url, SUMMARY))
        record = FilterRecord.decode(read_bytes(join(url, RECORD)))
        summary = FilterSummary.decode(told)
    except FileNotFoundError as error:
        now = " (one writes here now, or was killed)" if is_held(url) else ""
        raise InputError(
            f"{url}: no filter has come to its end here{now}; name the --output of "
            "`shardsift filter`"
        ) from error
    except (OSError, DocumentError) as error:
        raise InputError(f"{url}: not the output of a filter: {reason(error)}") from error
    if (record.fingerprint, record.rule, record.threshold) != (
        *(summary.fingerprint, summary.rule, summary.threshold),
    ):
        raise InputError(f"{url}: {RECORD} and {SUMMARY} are of two filters; filter again")
    return Filtered(
        url=url, record=record, summary=summary, digest=hashlib.sha256(told).hexdigest()[:16]
    )
