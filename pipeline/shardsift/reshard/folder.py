"""The output folder of `reshard`.

00000000.tar …          the kept samples
00000000_stats.json …   counts of each tar, as img2dataset's
sizes.json              samples of each tar: for open_clip, and DataComp's resharder
meta.json               names of the tars: for DataComp's trainer
_reshard.json           what was asked for, written first
_plan.parquet           which samples go into which tar
_failed/….json          a tar that was given up
_summary.json           written last, as sizes.json and meta.json, once all tars are there
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

from shardsift import __version__
from shardsift.annotations.folder import SUMMARY, RunFolder, as_json, local_folder
from shardsift.errors import OutputError
from shardsift.reshard.packing import SHARD_FORMAT, ReshardPlan, ReshardTask, read_plan, stats_name
from shardsift.reshard.write import ReshardReport
from shardsift.storage.files import (
    FAILED_FOLDER,
    SHARD_SUFFIX,
    commit,
    delete,
    identify,
    join,
    read_bytes,
)
from shardsift.storage.local import prune
from shardsift.storage.redaction import reason, redact
from shardsift.threads import map_ordered

_OWN_TAR = re.compile(r"\d{8,}\.tar")

RECORD = "_reshard.json"
PLAN = "_plan.parquet"
SIZES = "sizes.json"
META = "meta.json"

_THREADS = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class ReshardRecord:
    """What `_reshard.json` holds: all tars of the folder come of this.

    `keep_list` is a digest of what the filter says of itself, `root` the folder of the sources.
    """

    samples_per_shard: int | None
    bytes_per_shard: int | None
    annotate: bool
    keep_list: str
    fingerprint: str
    root: str
    version: str = __version__


class ReshardFolder(RunFolder):
    """The folder as one listing found it; `plan` is that of an earlier run, if it goes on."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.plan: ReshardPlan | None = None
        self.committed: set[str] = set()
        self._stale: set[str] = set()

    def claim(self, record: ReshardRecord, *, overwrite: bool) -> None:
        """Check that a run may write here, and go on with its plan if there is one.

        Changes nothing on disk: what `overwrite` replaces is deleted by `begin`.

        Raises:
            OutputError: if the folder holds tars of something else.
        """
        tars = {name for name in self.files if name.endswith(SHARD_SUFFIX)}
        ours = set(filter(_OWN_TAR.fullmatch, tars)) if RECORD in self.files else set[str]()
        if strangers := tars - ours:
            raise OutputError(
                f"{redact(self.url)}: holds tars that no reshard here has recorded "
                f"({min(strangers)}); choose another --output"
            )
        if RECORD not in self.files:
            return
        if overwrite:
            own = {SUMMARY, SIZES, META, *self.failed, *tars, *map(stats_name, tars)}
            self._stale = own & self.files
            self.failed, self.is_finished = set(), False
            return
        earlier = self._read_record()
        if changes := _changes(earlier, record):
            raise OutputError(
                f"{redact(self.url)}: holds tars of another plan ({changes}); choose another "
                "--output, or --overwrite to replace them"
            )
        self.plan = read_plan(join(self.url, PLAN), record.root, self.url)
        self.committed = tars

    def begin(self, record: ReshardRecord, plan: ReshardPlan) -> None:
        """Delete what is to be replaced, and save the plan, before the first tar."""
        self.sweep()
        if self.plan is None:
            delete(join(self.url, SUMMARY))  # readers look for it
            self.delete_all(self._stale)
            # Last of the old, and first of the new: until then --overwrite finds what is ours.
            delete(join(self.url, RECORD))
            commit(join(self.url, PLAN), plan.encode())
            commit(join(self.url, RECORD), as_json(asdict(record)))

    def find_committed(self, task: ReshardTask) -> ReshardReport | None:
        """Return the report of a tar that was committed unheard; None if none was."""
        try:
            size = identify(task.url, task.shard).size
        except OSError:
            return None
        location = join(self.url, stats_name(task.shard))
        report = ReshardReport(shard=task.shard, samples=task.samples, bytes=size)
        try:
            stats = json.loads(read_bytes(location))
            counts = {name: int(stats[name]) for name in ("json_made", "json_left")}
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            # Its writer was killed between the tar and its counts.
            commit(location, as_json(report.as_stats()))
            return report
        return replace(report, **counts)

    def finish(self, plan: ReshardPlan, reports: Iterable[ReshardReport]) -> Mapping[str, Any]:
        """Write what tells others that all tars are there; return the summary.

        `reports` are those of this run; those of earlier ones are read.
        """
        known = {report.shard: report for report in reports}
        earlier = (task for task in plan if task.shard not in known)
        for report in map_ordered(self.find_committed, earlier, _THREADS):
            if report is None:
                raise OutputError(f"{redact(self.url)}: a tar can't be found; run the same again")
            known[report.shard] = report
        if folder := local_folder(join(self.url, FAILED_FOLDER)):
            prune(folder)  # DataComp's trainer looks for shards in every folder
        sizes = {name: known[name].samples for name in sorted(known)}
        meta = {"output_shard_count": len(plan), "output_shard_format": SHARD_FORMAT}
        summary = meta | {
            "shards": len(plan),
            "samples": sum(sizes.values()),
            "bytes": sum(report.bytes for report in known.values()),
            "json_made": sum(report.json_made for report in known.values()),
            "json_left": sum(report.json_left for report in known.values()),
        }
        commit(join(self.url, SIZES), as_json(sizes))
        commit(join(self.url, META), as_json(meta))
        self.write_summary(summary)
        return summary

    def _read_record(self) -> ReshardRecord:
        location = join(self.url, RECORD)
        try:
            return ReshardRecord(**cast(dict[str, Any], json.loads(read_bytes(location))))
        except (OSError, ValueError, TypeError) as error:
            raise OutputError(
                f"{redact(location)}: not the record of a reshard ({reason(error)}); choose "
                "another --output, or --overwrite to replace it"
            ) from error


def _changes(earlier: ReshardRecord, record: ReshardRecord) -> str:
    there, here = asdict(earlier), asdict(record)
    if there["keep_list"] != here["keep_list"]:
        return "the keep-list is another one"
    may_differ = {"root", "version"}  # the sources may have moved
    names = [name for name in here if name not in may_differ and there[name] != here[name]]
    return "; ".join(f"{name}: {there[name]} there, {here[name]} here" for name in names)
