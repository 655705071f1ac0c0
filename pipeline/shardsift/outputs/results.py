"""What a run writes last: `_manifest.arrow` of all shards, and `_summary.json`."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from shardsift.errors import OutputError
from shardsift.outputs.embeddings import embeddings_name
from shardsift.outputs.folder import MANIFEST, RUN_RECORD, OutputFolder, failed_name
from shardsift.outputs.made import Made
from shardsift.outputs.manifest import ManifestWriter
from shardsift.outputs.records import RunSummary, StageTimes
from shardsift.records import told_of
from shardsift.shards.plan import ShardPlan
from shardsift.storage.files import join, list_files

logger = logging.getLogger(__name__)


def complete(
    folder: OutputFolder,
    plan: ShardPlan,
    manifest: ManifestWriter,
    *,
    made: Made,
    actors: int,
    seconds: float,
) -> None:
    """Add the shards of earlier runs to a manifest that holds this run's, and sum all of them up.

    Seconds, speed and stages in `_summary.json` are this run's alone; without Ray `actors` is 0.

    Raises:
        AnnotationError: if the last manifest or an annotation is damaged.
        OutputError: if something that was written isn't there any more.
    """
    there = _check_all_there(folder, plan)
    if made.extras.embeddings:  # else those that lie there are somebody else's
        folder.delete_all(_stray_embeddings(plan, there))
    totals = manifest.totals
    pace = {
        "seconds": round(seconds, 3),
        "images_per_second": round(totals.rows / max(seconds, 1e-9), 3),
        "stage_seconds": {
            name: StageTimes(busy=round(stage.busy, 3), waiting=round(stage.waiting, 3))
            for name, stage in totals.stages.items()
        },
        "actors": actors,
        "fingerprint": made.fingerprint,
    }
    if folder.committed:  # the plan may be a listing of a bucket: not for nothing
        earlier = (t.annotation for t in plan if t.annotation in folder.committed)
        for report in folder.reports(earlier):
            manifest.add(report)
    pace["manifest"] = manifest.commit(join(folder.url, MANIFEST), folder.guard)
    for line in told_of(totals.passed_over):
        logger.warning("%s", line)
    folder.write_summary(RunSummary.model_validate(totals.as_dict() | pace))


def _check_all_there(folder: OutputFolder, plan: ShardPlan) -> set[str]:
    """Look once more at the folder, which may have been renamed or deleted under the run."""
    there = list_files(folder.url)
    lost = "" if RUN_RECORD in there else RUN_RECORD
    count = 0
    for task in plan:
        if task.annotation not in there and failed_name(task.shard) not in there:
            lost, count = lost or task.annotation, count + 1
    if lost:
        raise OutputError(
            f"{folder.url}: {lost} is not there any more, and {count:,} of "
            f"{plan.count:,} annotations are missing; was the folder renamed or deleted? "
            "give it its name back and run the same command again, or with --overwrite"
        )
    return there


def _stray_embeddings(plan: ShardPlan, there: set[str]) -> Iterator[str]:
    """Name embeddings without an annotation: their writer was killed between the two.

    Readers that pair files by their order would give them to the next annotation.
    """
    for task in plan:
        embeddings = embeddings_name(task.annotation)
        if embeddings in there and task.annotation not in there:
            yield embeddings
