"""A folder that a verb writes into: who holds it, its records, shards that were given up."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Generator, Iterable, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from shardsift.documents import Document, DocumentError
from shardsift.errors import OutputError
from shardsift.records import FailedShard
from shardsift.redaction import reason, shown_cause
from shardsift.shards.names import stem_of
from shardsift.shards.plan import ShardPlan
from shardsift.storage.files import (
    FAILED_FOLDER,
    OWN_PREFIX,
    absolute,
    commit,
    delete,
    join,
    lies_in,
    list_files,
    read_bytes,
)
from shardsift.storage.lease import RUNNING, Lease, held
from shardsift.storage.local import behind_links, is_temporary, sweep

SUMMARY = "_summary.json"

_PROBE = f"{OWN_PREFIX}probe-"
_OWN_PROBE = re.compile(_PROBE + "[0-9a-f]{8}")
_THREADS = 32

OR_OVERWRITE = "choose another --output, or --overwrite to replace it"
"""The remedy of who finds somebody else's record."""

DocumentT = TypeVar("DocumentT", bound=Document)

logger: Final = logging.getLogger(__name__)


class RunFolder:
    """The output of a run as one listing found it; nothing is listed again afterwards."""

    def __init__(self, url: str) -> None:
        self.url = url
        files = list_files(url)
        self.is_held: bool = RUNNING in files
        self.files: set[str] = files - {RUNNING}
        failed = f"{FAILED_FOLDER}/"
        self.failed: set[str] = {name for name in self.files if name.startswith(failed)}
        self.is_finished: bool = SUMMARY in self.files
        self.lease: Lease | None = None

    def begin_anew(self) -> None:
        """Forget the end of the run whose files are to be replaced."""
        self.failed = set[str]()
        self.is_finished = False

    @contextmanager
    def hold(self, *, force: bool = False) -> Generator[Lease]:
        """Hold the folder while the block writes into it, see `lease.held`. Raises OutputError."""
        with held(self.url, force=force) as self.lease:
            yield self.lease

    def guard(self) -> None:
        """Raise OutputError if the folder was taken over while this process stood still."""
        if self.lease:
            self.lease.guard()

    def commit(self, name: str, data: bytes) -> None:
        """Write a file below the folder, unless that was taken over. Raises OutputError."""
        commit(join(self.url, name), data, self.guard)

    def read_document(self, name: str, kind: type[DocumentT], what: str, remedy: str) -> DocumentT:
        """Read a record below the folder: `what` it should be of. Raises OutputError."""
        location = join(self.url, name)
        try:
            return kind.decode(read_bytes(location))
        except (OSError, DocumentError) as error:
            raise OutputError(
                f"{location}: not the record of {what} ({reason(error)}); {remedy}"
            ) from error

    def sweep(self) -> None:
        """Delete what killed processes left half-written; an object store keeps no such thing."""
        if folder := local_folder(self.url):
            sweep(folder)

    def write_failed(self, failed: FailedShard) -> None:
        """Record a shard that was given up. Raises OutputError if nothing can be written."""
        try:
            self.commit(failed_name(failed.shard), failed.encode())
        except OSError as error:
            raise OutputError(
                f"{self.url}: can't be written any more: {reason(error)}; run the same command "
                f"again once that is fixed ({failed.shard}: {failed.reason})"
            ) from shown_cause(error)

    def forget_failed(self, shard: str) -> None:
        """Remove the record of an earlier run's failure, now that the shard is committed."""
        name = failed_name(shard)
        if name in self.failed and self._is_own_failure(name):
            self.delete_all([name])

    def write_summary(self, summary: Document) -> None:
        """Write `_summary.json`: its presence says that a run came to its end."""
        self.commit(SUMMARY, summary.encode())

    def delete_all(self, names: Iterable[str]) -> list[str]:
        """Delete files below the folder, by many threads; return which.

        Links, and files below a linked folder, are not ours, and stay.
        """
        self.guard()
        names = set(names)
        linked = self.behind_links(names)
        for name in sorted(linked):
            logger.warning("%s: reached by a link, and not deleted", join(self.url, name))
        with ThreadPoolExecutor(_THREADS, "delete") as pool:
            list(pool.map(delete, (join(self.url, name) for name in names - linked)))
        return sorted(names - linked)

    def check_own(self, verb: str, names: Set[str], is_own: Callable[[str], bool]) -> None:
        """Refuse a folder with files that look like a verb's, but were written by somebody else.

        `is_own`, which many threads call, recognises our own files; these aren't reached by links.
        Raises OutputError.
        """
        there = sorted(names - self.behind_links(names))
        with ThreadPoolExecutor(_THREADS, "claim") as pool:
            proven = zip(there, pool.map(is_own, there), strict=True)
            own = {name for name, is_proven in proven if is_proven}
        if strangers := names - own:
            raise OutputError(
                f"{self.url}: holds {min(strangers)}, which no `{verb}` has recorded here, or "
                "which is reached by a link; move it away, or choose another --output"
            )

    def behind_links(self, names: Iterable[str]) -> set[str]:
        """Return the names that are links, or are below a linked folder."""
        folder = local_folder(self.url)
        return behind_links(folder, names) if folder else set()

    def own_failures(self) -> set[str]:
        """Return the names of our records of failures; other files may be beside them."""
        names = sorted(self.failed)
        with ThreadPoolExecutor(_THREADS, "failures") as pool:
            owned = pool.map(self._is_own_failure, names)
            return {name for name, is_own in zip(names, owned, strict=True) if is_own}

    def _is_own_failure(self, name: str) -> bool:
        """Return whether a file is the record of the shard that it is named after."""
        try:
            failed = FailedShard.decode(read_bytes(join(self.url, name)))
        except (OSError, DocumentError):
            return False
        return failed_name(failed.shard) == name


def check_apart(output: str, annotations: str) -> None:
    """Refuse an output in a folder of annotations. Raises OutputError."""
    if lies_in(output, absolute(annotations)):
        raise OutputError(
            f"{output}: lies in the annotations, whose readers would read its files, too; choose "
            "another --output"
        )


def check_output(output: str, shard_folders: Iterable[str], plan: ShardPlan | None = None) -> None:
    """Refuse an output in a folder of shards, and one that can't be written.

    Raises:
        OutputError: with one line that says what to do.
        InputError: if it ignores case, and two names of the plan only differ in case.
    """
    if folder := next((folder for folder in shard_folders if lies_in(output, folder)), None):
        raise OutputError(
            f"{output}: lies in {folder}, a folder of shards, where "
            "img2dataset and others keep their own .parquet and .json; choose another --output"
        )
    probe = join(output, f"{_PROBE}{secrets.token_hex(4)}")
    try:
        commit(probe, b"")
        ignores_case = bool(local_folder(output)) and Path(absolute(probe).swapcase()).exists()
        delete(probe)
    except (OSError, ImportError, ValueError) as error:
        problem = f"{output}: can't be written: {reason(error)}"
        raise OutputError(problem) from shown_cause(error)
    if plan and ignores_case:
        plan.check_case()


def is_passing(name: str) -> bool:
    """Return whether a file is a temporary one, or a probe: of a command that writes, or that was
    killed."""
    return is_temporary(name) or bool(_OWN_PROBE.fullmatch(name))


def local_folder(url: str) -> Path | None:
    """Return the path of a folder on this machine; None if it lies elsewhere."""
    location = absolute(url)
    return None if "://" in location else Path(location)


def failed_name(shard: str) -> str:
    """Name the record of a shard's failure, below the output."""
    return f"{FAILED_FOLDER}/{stem_of(shard)}.json"
