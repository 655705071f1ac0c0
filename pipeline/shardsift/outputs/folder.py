"""The output folder of a run: what is committed in it, and the files that begin with `_`.

embeddings/….npy    those of an annotation, if they are asked for
_run.json           the one configuration of the folder's annotations, and their inputs
_failed/….json      a shard that was given up
_manifest.arrow     a row a shard
_summary.json       written last
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import tee
from pathlib import Path
from typing import TypeVar

from shardsift.documents import Document, DocumentError
from shardsift.errors import AnnotationError, InputError, OutputError
from shardsift.outputs.embeddings import embeddings_name
from shardsift.outputs.ipc import SUFFIX
from shardsift.outputs.made import Made, difference
from shardsift.outputs.manifest import ManifestWriter, read_manifest, read_outcomes
from shardsift.outputs.records import COMPACTING, CompactRecord, RunRecord, RunSummary
from shardsift.outputs.sealed_table import AnnotationFiles, Footer, find_compacted, read_footer
from shardsift.records import FailedShard, ShardReport, ShardTask
from shardsift.redaction import reason, shown_cause
from shardsift.shards.names import annotation_name
from shardsift.shards.plan import ShardPlan, plan_moved
from shardsift.storage.files import (
    FAILED_FOLDER,
    OWN_PREFIX,
    SHARD_SUFFIX,
    absolute,
    commit,
    delete,
    is_annotation,
    join,
    lies_in,
    list_files,
    read_bytes,
    sum_of,
)
from shardsift.storage.finding import lone_folder
from shardsift.storage.lease import RUNNING, Lease, held
from shardsift.storage.local import behind_links, is_temporary, sweep
from shardsift.version import __version__

RUN_RECORD = "_run.json"
MANIFEST = "_manifest" + SUFFIX
SUMMARY = "_summary.json"

_PROBE = f"{OWN_PREFIX}probe-"
_OWN_PROBE = re.compile(_PROBE + "[0-9a-f]{8}")
_THREADS = 32

OR_OVERWRITE = "choose another --output, or --overwrite to replace it"
"""The remedy of who finds somebody else's record."""

DocumentT = TypeVar("DocumentT", bound=Document)

logger = logging.getLogger(__name__)


class RunFolder:
    """The output of a run as one listing found it; nothing is listed again afterwards."""

    def __init__(self, url: str) -> None:
        self.url = url
        files = list_files(url)
        self.is_held = RUNNING in files
        self.files = files - {RUNNING}
        self.failed = {name for name in self.files if name.startswith(f"{FAILED_FOLDER}/")}
        self.is_finished = SUMMARY in self.files
        self.lease: Lease | None = None

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
                f"{self.url}: can't be written any more: {reason(error)}; the same "
                f"command goes on once it can ({failed.shard}: {failed.reason})"
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

        What is a link, or lies behind one, is somebody else's, and stays.
        """
        self.guard()
        names = set(names)
        linked = self.behind_links(names)
        for name in sorted(linked):
            logger.warning("%s: lies behind a link, and was not deleted", join(self.url, name))
        with ThreadPoolExecutor(_THREADS, "delete") as pool:
            list(pool.map(delete, (join(self.url, name) for name in names - linked)))
        return sorted(names - linked)

    def behind_links(self, names: Iterable[str]) -> set[str]:
        """Return those of the names that are links, or lie behind one."""
        folder = local_folder(self.url)
        return behind_links(folder, names) if folder else set()

    def own_failures(self) -> set[str]:
        """Return the names of records of failures that are ours; others may lie beside them."""
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


class OutputFolder(RunFolder):
    """The output of `score`."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.record = self._read_record() if RUN_RECORD in self.files else None
        self.is_compacted = COMPACTING in self.files
        self.annotations = self._open_annotations()
        self.committed = {name for name in self.files if is_annotation(name)}
        if self.is_compacted:
            self.committed = set(self.annotations.places)
        self._to_delete: list[str] = []

    def claim(
        self, plan: ShardPlan, made: Made, *, overwrite: bool, may_have_moved: bool = False
    ) -> ShardPlan:
        """Check that this run may write here; return the plan with the folder's names.

        Changes nothing on disk: what `overwrite` replaces is deleted by `begin`. If shards
        `may_have_moved`, one folder that lies elsewhere is taken for where they lie now.

        Raises:
            OutputError: if the folder holds annotations of another configuration, or Parquet
                files that are not ours.
        """
        if self.is_compacted:
            raise OutputError(
                f"{self.url}: holds compacted annotations, to which nothing can be added; choose "
                "another --output"
            )
        if overwrite:
            self._count_as_gone()
        if self.record is None:
            if self.committed:
                raise OutputError(
                    f"{self.url}: holds .parquet files that no run here has recorded, or that lie "
                    f"behind a link ({min(self.committed)}); choose another --output"
                )
            return plan
        if different := difference(self.record, made):
            raise OutputError(
                f"{self.url}: holds annotations {different}; choose another --output, or "
                "--overwrite to replace them"
            )
        elsewhere = may_have_moved and not plan.lies_below(self.record.root)
        if elsewhere and (folder := lone_folder(plan.patterns)):
            return self.plan_moved_to(folder)
        return plan.below(self.record.root)

    def plan_moved_to(self, folder: str) -> ShardPlan:
        """Plan the shards of this run, which lie below another folder by now.

        Raises:
            InputError: if none of them does.
        """
        assert self.record, "there is a run"
        plan = plan_moved(self.record.inputs, self.record.root, folder)
        known = self.committed | self.failed
        if not any(task.annotation in known or failed_name(task.shard) in known for task in plan):
            raise InputError(
                f"{folder}: has none of the shards that were scored below {self.record.root}; name "
                "the folder that their names are relative to"
            )
        return plan

    def has_moved(self, plan: ShardPlan) -> bool:
        """Tell whether the corpus of a claimed plan has moved since some of it was scored."""
        record = self.record
        return record is not None and (record.has_moved or record.root != plan.root)

    def begin(self, plan: ShardPlan, made: Made, weights: str | None = None) -> None:
        """Delete what is to be replaced, and write `_run.json`, before the first annotation."""
        self.sweep()
        self.delete_all([SUMMARY])
        self.delete_all(self._to_delete)
        self._forget_reopened()
        record = RunRecord(
            fingerprint=made.fingerprint,
            config=dict(made.config),
            extras=made.extras,
            root=plan.root,
            inputs=plan.inputs,
            version=__version__,
            weights=weights,
            has_moved=self.has_moved(plan),
        )
        self.commit(RUN_RECORD, record.encode())

    def _forget_reopened(self) -> None:
        """Take the shards that are scored again out of the manifest, which tells of what they were.

        Should this run be stopped, the next one reads the footers of what it has committed.
        """
        if MANIFEST not in self.files or MANIFEST in self._to_delete:
            return
        url = join(self.url, MANIFEST)
        forgotten = False
        with ManifestWriter() as manifest:
            for shard, report in read_outcomes(url):
                if report is None:
                    manifest.add_failed(shard)
                elif annotation_name(shard) in self.committed:
                    manifest.add(report)
                else:
                    forgotten = True
            if forgotten:
                manifest.commit(url, self.guard)

    def read_footers(self, names: Iterable[str]) -> Iterator[Footer]:
        """Read footers of annotations, in the order of sorted names. Raises AnnotationError."""
        return self.annotations.footers(names)

    def reports(self, names: Iterable[str]) -> Iterator[ShardReport]:
        """Yield what annotations report: the manifest's reports, else those of the footers.

        Raises:
            AnnotationError: if the manifest or an annotation is damaged.
        """
        unknown = dict.fromkeys(names)
        with closing(read_manifest(join(self.url, MANIFEST))) as known:
            for report in known:
                if (name := annotation_name(report.shard)) in unknown:
                    del unknown[name]
                    yield report
        for footer in self.read_footers(unknown):
            yield footer.report

    def footers(self, tasks: Iterable[ShardTask]) -> Iterable[tuple[ShardTask, Footer]]:
        """Read footers of committed shards, by many threads, in order. Raises AnnotationError."""

        tasks, again = tee(tasks)
        return zip(tasks, self.read_footers(task.annotation for task in again), strict=True)

    def reopen(self, plan: ShardPlan, wanted: Callable[[ShardTask, Footer], bool]) -> None:
        """Count the committed shards that `wanted` picks as not committed."""
        tasks = (task for task in plan if task.annotation in self.committed)
        picked = {task.annotation for task, footer in self.footers(tasks) if wanted(task, footer)}
        self.committed -= picked

    def check_manifest(self) -> None:
        """Check that the manifest is the one that the summary is of.

        Raises:
            InputError: if there is no such summary.
            AnnotationError: if there is another manifest.
        """
        summary, location = self.read_summary(), join(self.url, MANIFEST)
        if summary and MANIFEST in self.files and sum_of(location) != summary.manifest:
            raise AnnotationError(
                f"{location}: is not the manifest that {SUMMARY} is of; see `shardsift verify`"
            )

    def read_summary(self) -> RunSummary | None:
        """Read what the last run has summed up; None if it hasn't come to its end.

        Raises:
            InputError: if that is something else.
        """
        location = join(self.url, SUMMARY)
        try:
            return RunSummary.decode(read_bytes(location)) if self.is_finished else None
        except (OSError, DocumentError) as error:
            raise InputError(
                f"{location}: not the summary of a run ({reason(error)}); see `shardsift verify`"
            ) from error

    def _read_record(self) -> RunRecord:
        return self.read_document(RUN_RECORD, RunRecord, "a run", "take another folder")

    def _open_annotations(self) -> AnnotationFiles:
        fingerprint = self.record and self.record.fingerprint
        if not self.is_compacted:
            return AnnotationFiles(self.url, fingerprint)
        again = "compact again, with --overwrite"
        sums = self.read_document(COMPACTING, CompactRecord, "a compact", again).sums
        if not sums or sums.keys() - self.files:
            raise OutputError(f"{self.url}: is not whole; {again}")
        places = find_compacted(self.url, filter(is_annotation, sums))
        digests = {place.footer.report.digest for place in places.values()}
        known = {report.digest for report in read_manifest(join(self.url, MANIFEST))}
        if MANIFEST in sums and digests != known:
            raise AnnotationError(f"{self.url}: holds files of another compact; compact again")
        return AnnotationFiles(self.url, fingerprint, places)

    def _count_as_gone(self) -> None:
        """Mark what Shardsift wrote for deletion; Parquet files that aren't ours stay committed."""
        names = sorted(self.committed - self.behind_links(self.committed))
        with ThreadPoolExecutor(_THREADS, "footers") as pool:
            footers = pool.map(self._own_footer, names)
            ours = {name: own for name, own in zip(names, footers, strict=True) if own}
        embeddings = {embeddings_name(name) for name, own in ours.items() if own.embeddings}
        named = {MANIFEST, *embeddings} & self.files
        self._to_delete = sorted({*named, *ours, *self.own_failures()})
        self.committed -= ours.keys()
        self.failed, self.record, self.is_finished = set(), None, False

    def _own_footer(self, name: str) -> Footer | None:
        """Return the footer of an annotation of this folder; None if a file is no such."""
        try:
            footer = read_footer(join(self.url, name))
        except AnnotationError:
            return None
        return footer if annotation_name(footer.shard.path) == name else None


def find_annotations(url: str) -> OutputFolder:
    """Open a folder that has annotations. Raises InputError if it has none."""
    folder = OutputFolder(url)
    if folder.is_held:
        logger.warning(
            "%s: a command writes here now, or was killed; what is read of it may change",
            url,
        )
    if not folder.committed and folder.is_held:
        raise InputError(f"{url}: no annotations yet; a command writes here now, or was killed")
    if not folder.committed:
        raise InputError(f"{url}: no annotations here; name the --output of `shardsift score`")
    return folder


def check_apart(output: str, annotations: str) -> None:
    """Refuse an output in a folder of annotations. Raises OutputError."""
    if lies_in(output, absolute(annotations)):
        raise OutputError(
            f"{output}: lies in the annotations, whose readers would take its files for "
            "some of them; choose another --output"
        )


def check_output(output: str, shard_folders: Iterable[str], plan: ShardPlan | None = None) -> None:
    """Refuse an output in a folder of shards, and one that can't be written.

    Raises:
        OutputError: with one line that says what to do.
        InputError: if it ignores case, and that would make one of two names of a plan.
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
    """Tell whether a file of a folder is there for a moment alone: of a command that writes, or is
    about to; or it was left by one that was killed."""
    return is_temporary(name) or bool(_OWN_PROBE.fullmatch(name))


def local_folder(url: str) -> Path | None:
    """Tell where a folder lies on this machine; None if it doesn't."""
    location = absolute(url)
    return None if "://" in location else Path(location)


def failed_name(shard: str) -> str:
    """Name the record of a shard's failure, below the output."""
    return f"{FAILED_FOLDER}/{shard.removesuffix(SHARD_SUFFIX)}.json"
