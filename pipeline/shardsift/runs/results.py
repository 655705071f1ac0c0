"""What a run writes last: `_manifest.parquet` of all shards, and `_summary.json`."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from shardsift.annotations.folder import MANIFEST
from shardsift.annotations.manifest import ManifestWriter
from shardsift.records import ShardReport
from shardsift.runs.preflight import Run
from shardsift.runs.tally import ScoreTally
from shardsift.storage.files import join

logger = logging.getLogger(__name__)


def write_results(run: Run, manifest: ManifestWriter, tally: ScoreTally, actors: int) -> None:
    """Complete a manifest, which holds this run's shards, with those of earlier runs."""
    with manifest:
        for report in _earlier_reports(run):
            manifest.add(report)
        manifest.commit(join(run.folder.url, MANIFEST))
        totals = manifest.totals.as_dict()
    if unscored := manifest.totals.unscored_images:
        logger.warning("%d images share a sample with another one and were not scored", unscored)
    run.folder.write_summary(
        totals
        | {
            "seconds": round(tally.seconds, 3),
            "images_per_second": round(tally.images_per_second, 3),
            "stage_seconds": {
                name: {"busy": round(stage.busy, 3), "waiting": round(stage.waiting, 3)}
                for name, stage in tally.stages.items()
            },
            "actors": actors,
            "fingerprint": run.fingerprint,
        }
    )


def _earlier_reports(run: Run) -> Iterator[ShardReport]:
    """Reports of shards committed by earlier runs: from the last manifest, else their footers."""
    if not run.folder.committed:  # the plan may be a listing of a bucket: not for nothing
        return
    folder = run.folder
    yield from folder.reports(t.annotation for t in run.plan if t.annotation in folder.committed)
