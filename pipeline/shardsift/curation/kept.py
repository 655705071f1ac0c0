"""The output folder of `filter`.

keep-list/….parquet   the kept samples of a shard, named as its annotations
uids.npy              DataComp's subset file
_filter.json          the rule, and of which annotations; written first: a folder that has it may
                      be written anew
_summary.json         what became of all rows, written last: a reader looks for it
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shardsift import __version__
from shardsift.annotations.folder import SUMMARY, as_json, check_apart, check_output, local_folder
from shardsift.annotations.parquet import ROW_GROUP_ROWS
from shardsift.annotations.survey import Part, Survey
from shardsift.curation.sieve import SCHEMA
from shardsift.curation.uids import UidWriter
from shardsift.errors import AnnotationError, InputError, OutputError
from shardsift.storage.files import (
    absolute,
    commit,
    delete,
    join,
    list_files,
    open_read,
    read_bytes,
)
from shardsift.storage.local import prune, sweep
from shardsift.storage.redaction import reason, redact

KEEP_LIST = "keep-list"
UIDS = "uids.npy"
RECORD = "_filter.json"


class KeptFolder:
    """Writes what a filter keeps; if the block raises, nothing of it stays."""

    def __init__(self, url: str, annotations: str, *, overwrite: bool) -> None:
        """Claim the folder, and change nothing in it.

        Raises:
            OutputError: if it holds something else, or a finished filter without `overwrite`.
        """
        self.url = url
        self._annotations = absolute(annotations)
        check_apart(url, annotations)
        files = list_files(url)
        mine = {name for name in files if name.startswith(f"{KEEP_LIST}/") or name == UIDS}
        if mine and RECORD not in files:
            raise OutputError(
                f"{redact(url)}: holds {min(mine)}, which no filter here has recorded; choose "
                "another --output"
            )
        if SUMMARY in files and RECORD not in files:
            raise OutputError(f"{redact(url)}: is the output of a run; choose another --output")
        if SUMMARY in files and not overwrite:
            raise OutputError(
                f"{redact(url)}: holds what an earlier filter has kept; choose another --output, "
                "or --overwrite to replace it"
            )
        self._stale = mine | (files & {SUMMARY, RECORD})
        self._written: set[str] = set()
        folder = local_folder(url)
        self._new_folder = None if folder is None or folder.exists() else folder
        self._metadata: Mapping[str, str] = {}

    def __enter__(self) -> Self:
        check_output(self.url, ())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            return
        for name in sorted(self._written):
            delete(join(self.url, name))
        if self._new_folder:
            prune(self._new_folder)

    def begin(self, rule: Mapping[str, Any], threshold: float | None, found: Survey) -> None:
        """Delete what an earlier filter has written, and say what this one does."""
        if folder := local_folder(self.url):
            sweep(folder)
        for name in sorted(self._stale, key=lambda name: name != SUMMARY):
            delete(join(self.url, name))
        self._metadata = {
            "shardsift.fingerprint": found.fingerprint,
            "shardsift.threshold": json.dumps(threshold),
            "shardsift.filter": json.dumps(rule, sort_keys=True),
            "shardsift.version": __version__,
        }
        record = {"annotations": self._annotations, "root": found.root}
        self._commit(RECORD, as_json(record | {"rule": rule, "threshold": threshold}))

    def add(self, part: Part, rows: Any) -> None:
        """Write the keep-list of a shard, even an empty one. Threads may call it."""
        shard = pa.DictionaryArray.from_arrays(np.zeros(len(rows), np.int32), [part.shard])
        table = rows.append_column("shard", shard).select(SCHEMA.names).cast(SCHEMA)
        sink = io.BytesIO()
        pq.write_table(
            table.replace_schema_metadata(self._metadata),
            sink,
            row_group_size=ROW_GROUP_ROWS,
            compression="zstd",
            use_dictionary=["shard"],  # pyright: ignore[reportArgumentType]
        )
        self._commit(f"{KEEP_LIST}/{part.name}", sink.getvalue())

    def add_uids(self, uids: UidWriter) -> None:
        """Write DataComp's subset file."""
        self._written.add(UIDS)
        uids.commit(join(self.url, UIDS))

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Say that everything is there."""
        self._commit(SUMMARY, as_json(summary))

    def _commit(self, name: str, data: bytes) -> None:
        self._written.add(name)
        commit(join(self.url, name), data)


@dataclass(frozen=True, kw_only=True, slots=True)
class Filtered:
    """What a filter that has come to its end says of itself.

    `annotations` are those that were filtered, of shards below `root`, and `without` the shards
    that have none; `digest` is that of the summary, and another one if another rule or other scores
    were used.
    """

    annotations: str
    root: str
    fingerprint: str
    without: Sequence[str]
    digest: str


def read_filtered(url: str) -> Filtered:
    """Read what a filter says of itself. Raises InputError if none has come to its end."""
    try:
        told = read_bytes(join(url, SUMMARY))
        record = json.loads(read_bytes(join(url, RECORD)))
        summary = cast(dict[str, Any], json.loads(told))
        return Filtered(
            annotations=str(record["annotations"]),
            root=str(record["root"]),
            fingerprint=str(summary["fingerprint"]),
            without=[*summary["failed_shards"], *summary["missing_shards"]],
            digest=hashlib.sha256(told).hexdigest()[:16],
        )
    except FileNotFoundError as error:
        raise InputError(
            f"{redact(url)}: no filter has come to its end here; name the --output of "
            "`shardsift filter`"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{redact(url)}: not the output of a filter: {error!r}") from error


@dataclass(frozen=True, slots=True)
class KeepListFile:
    """The kept samples of a shard, and the fingerprint of the scores that they were chosen by."""

    table: Any
    fingerprint: str


def read_keep_list(url: str) -> KeepListFile:
    """Read the keep-list of one shard. Raises AnnotationError if it isn't one."""
    try:
        with open_read(url) as file:
            table = pq.read_table(file)
        fingerprint = table.schema.metadata[b"shardsift.fingerprint"].decode()
        return KeepListFile(table.cast(SCHEMA), fingerprint)
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise AnnotationError(f"{redact(url)}: not a keep-list: {reason(error)}") from error
