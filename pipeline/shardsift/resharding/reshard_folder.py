"""The output folder of `reshard`.

00000000.tar …            the kept samples
data/00000000.parquet …   or kept rows of Parquet files
00000000_stats.json …     counts of each shard, as img2dataset's
sizes.json                samples of each shard: for open_clip, and DataComp's resharder
meta.json                 names of the shards: for DataComp's trainer
_reshard.json             what was asked for, written first
_plan.parquet             which samples go into which shard
_failed/….json            a shard that was given up
_summary.json             written last, as sizes.json and meta.json, once all shards are there
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from typing import Final, Literal

from shardsift.documents import Document, DocumentError, as_json
from shardsift.errors import OutputError
from shardsift.outputs.run_folder import OR_OVERWRITE, SUMMARY, RunFolder, local_folder
from shardsift.resharding.new_shard import ReshardReport, ShardStats
from shardsift.resharding.packing import (
    SHARD_FORMATS,
    ReshardPlan,
    ReshardTask,
    is_new_shard,
    read_plan,
    stats_name,
)
from shardsift.storage.files import (
    FAILED_FOLDER,
    identify,
    join,
    list_files,
    read_bytes,
)
from shardsift.storage.local import prune
from shardsift.threads import map_ordered
from shardsift.version import __version__

RECORD = "_reshard.json"
PLAN = "_plan.parquet"
SIZES = "sizes.json"
META = "meta.json"

_THREADS = 32

logger: Final = logging.getLogger(__name__)


class ReshardIntent(Document):
    """Settings of a reshard; equal intents give equal shards.

    `columns` are written into each `.json`; `to` is the kind of new shards; `keep_list` is a digest
    of the filter's records. Sources, keep-list and annotations may move: `root` is the folder of
    the sources, `keep` and `annotations` are those of the others.
    """

    samples_per_shard: int | None
    bytes_per_shard: int | None
    to: Literal["tar", "parquet"]
    columns: tuple[str, ...]
    keep_list: str
    fingerprint: str
    root: str
    keep: str
    annotations: str
    version: str = __version__

    @property
    def form(self) -> str:
        """The format of new shards' names."""
        return SHARD_FORMATS[self.to]


class ReshardRecord(ReshardIntent):
    """`_reshard.json`: the plan and the settings of all shards of the folder.

    `plan` is the SHA-256 of the plan's file; `shards` and `samples` are its counts.
    """

    plan: str
    shards: int
    samples: int


class ReshardSummary(Document):
    """`_summary.json`, DataComp's two keys first."""

    output_shard_count: int
    output_shard_format: str
    shards: int
    samples: int
    bytes: int
    json_made: int
    json_left: int
    split: int


class ReshardFolder(RunFolder):
    """The folder by one listing; `plan` is that of an earlier run, if this one resumes it."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.plan: ReshardPlan | None = None
        self.committed: set[str] = set()
        self._stale: set[str] = set()
        self._reports: dict[str, ReshardReport] = {}

    def claim(self, intent: ReshardIntent, *, overwrite: bool) -> None:
        """Check that a run may write here, and read the plan of an earlier run.

        Changes nothing on disk: `begin` deletes the files that `overwrite` replaces.

        Raises:
            OutputError: if the folder holds shards of another plan.
        """
        tars = set(filter(is_new_shard, self.files))
        own = self._own_files(tars, intent.root) if RECORD in self.files else set[str]()
        self.check_own("reshard", tars | ({SIZES, META} & self.files), own.__contains__)
        if RECORD not in self.files:
            return
        if overwrite:
            own = {SUMMARY, SIZES, META, *self.own_failures(), *tars, *map(stats_name, tars)}
            self._stale = own & self.files
            self.begin_anew()
            return
        record = self.read_record()
        if changes := _changes(record, intent):
            raise OutputError(
                f"{self.url}: holds shards of another plan ({changes}); choose another "
                "--output, or --overwrite to replace them"
            )
        plan = join(self.url, PLAN)
        self.plan = read_plan(plan, record.plan, intent.root, self.url, intent.form)
        if unplanned := tars - {task.shard for task in self.plan}:
            raise OutputError(
                f"{self.url}: holds {min(unplanned)}, which isn't in its plan; delete it, or "
                "--overwrite to write all shards again"
            )
        there = (task for task in self.plan if task.shard in tars)
        reports = map_ordered(self.find_committed, there, _THREADS)
        self._reports = {report.shard: report for report in reports if report}
        self.committed = set(self._reports)

    def _own_files(self, tars: set[str], root: str) -> set[str]:
        """Name the files that the plan here names, or that prove to be ours."""
        own = {tar for tar in tars if self._has_counts(tar)}
        try:
            record, place = self.read_record(), join(self.url, PLAN)
            plan = read_plan(place, record.plan, root, self.url, record.form)
        except OutputError:  # with --overwrite a new plan is made
            return own | ({SIZES, META} if self.is_finished else set())
        for name, content in ((SIZES, encode_sizes(plan)), (META, encode_meta(plan))):
            if name in self.files and (self.is_finished or self._reads(name) == content):
                own.add(name)
        return own | {task.shard for task in plan}

    def _has_counts(self, tar: str) -> bool:
        """Return whether the counts beside a shard give its size."""
        counts = self._reads(stats_name(tar))
        try:
            size = identify(join(self.url, tar), tar).size
            return counts is not None and ShardStats.decode(counts).bytes == size
        except (OSError, DocumentError):
            return False

    def _reads(self, name: str) -> bytes | None:
        try:
            return read_bytes(join(self.url, name))
        except OSError:
            return None

    def begin(self, intent: ReshardIntent, plan: ReshardPlan) -> None:
        """Delete files to replace, and save the plan, before the first shard."""
        self.sweep()
        if self.plan is None:
            self.delete_all([SUMMARY])  # readers take it for the end of a run
            self.delete_all(self._stale)
            # The old record goes last, the new one comes first: --overwrite knows our files by it.
            self.delete_all([RECORD])
            data = plan.encode()
            record = ReshardRecord(
                **intent.model_dump(),
                plan=hashlib.sha256(data).hexdigest(),
                shards=len(plan),
                samples=plan.samples,
            )
            self.commit(PLAN, data)
            self.commit(RECORD, record.encode())

    def find_committed(self, task: ReshardTask) -> ReshardReport | None:
        """Return the report of a finished shard with its counts; None if it isn't finished."""
        try:
            size = identify(task.url, task.shard).size
            stats = ShardStats.decode(read_bytes(join(self.url, stats_name(task.shard))))
        except FileNotFoundError:  # its writer was killed after the shard, before its counts
            return None
        except DocumentError as error:
            logger.warning("%s: its counts are damaged (%s); written again", task.shard, error)
            return None
        if (size, task.samples) != (stats.bytes, stats.count):
            logger.warning(
                "%s: has %d bytes, and was written with %d; written again",
                *(task.shard, size, stats.bytes),
            )
            return None
        return ReshardReport(
            shard=task.shard,
            samples=stats.count,
            bytes=size,
            json_made=stats.json_made,
            json_left=stats.json_left,
            split=stats.split,
            sha256=stats.sha256,
            seconds=stats.duration,
        )

    def read_summary(self) -> ReshardSummary:
        """Read the summary of a finished reshard. Raises DocumentError."""
        return ReshardSummary.decode(read_bytes(join(self.url, SUMMARY)))

    def finish(self, plan: ReshardPlan, reports: Iterable[ReshardReport]) -> ReshardSummary:
        """Write what tells others that all shards are there; return the summary.

        `reports` are those of this run; those of earlier ones were read.

        Raises:
            OutputError: if a shard isn't there any more.
        """
        known = self._reports | {report.shard: report for report in reports}
        there = list_files(self.url)
        wanted = {RECORD, PLAN, *(task.shard for task in plan)}
        missing = sorted(wanted - (there & {RECORD, PLAN, *known}))
        if missing:
            raise OutputError(
                f"{self.url}: {missing[0]} and {len(missing) - 1:,} others have disappeared; was "
                "the folder renamed or deleted? run the same command again"
            )
        if folder := local_folder(join(self.url, FAILED_FOLDER)):
            prune(folder)  # DataComp's trainer would look for shards in empty folders
        summary = ReshardSummary(
            output_shard_count=len(plan),
            output_shard_format=plan.form,
            shards=len(plan),
            samples=sum(report.samples for report in known.values()),
            bytes=sum(report.bytes for report in known.values()),
            json_made=sum(report.json_made for report in known.values()),
            json_left=sum(report.json_left for report in known.values()),
            split=sum(report.split for report in known.values()),
        )
        self.commit(SIZES, encode_sizes(plan))
        self.commit(META, encode_meta(plan))
        self.write_summary(summary)
        return summary

    def read_record(self) -> ReshardRecord:
        """Read the plan and the settings of the folder's shards. Raises OutputError."""
        return self.read_document(RECORD, ReshardRecord, "a reshard", OR_OVERWRITE)


def encode_sizes(plan: ReshardPlan) -> bytes:
    """Encode `sizes.json`: samples of each shard."""
    return as_json({task.shard: task.samples for task in plan})


def encode_meta(plan: ReshardPlan) -> bytes:
    """Encode `meta.json`: number and names of the tars."""
    return as_json({"output_shard_count": len(plan), "output_shard_format": plan.form})


def _changes(record: ReshardRecord, intent: ReshardIntent) -> str:
    there, here = record.model_dump(), intent.model_dump()
    if there["keep_list"] != here["keep_list"]:
        return "the keep-list differs"
    may_differ = {"root", "keep", "annotations", "version"}  # these may change: all may have moved
    names = [name for name in here if name not in may_differ and there[name] != here[name]]
    return "; ".join(f"{name}: {there[name]} there, {here[name]} here" for name in names)
