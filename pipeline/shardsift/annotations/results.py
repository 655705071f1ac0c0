"""What a run writes last: `_manifest.parquet` of all shards, and `_summary.json`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from shardsift.annotations.folder import MANIFEST, OutputFolder
from shardsift.annotations.manifest import ManifestWriter
from shardsift.shards.plan import ShardPlan
from shardsift.storage.files import join

logger = logging.getLogger(__name__)


def complete(
    folder: OutputFolder, plan: ShardPlan, manifest: ManifestWriter, facts: Mapping[str, Any]
) -> None:
    """Add the shards of earlier runs to a manifest that holds this run's, and sum all of them up.

    `facts` of this run, such as its seconds, stand in `_summary.json` behind the counts.

    Raises:
        AnnotationError: if the last manifest or an annotation is damaged.
    """
    if folder.committed:  # the plan may be a listing of a bucket: not for nothing
        earlier = (t.annotation for t in plan if t.annotation in folder.committed)
        for report in folder.reports(earlier):
            manifest.add(report)
    manifest.commit(join(folder.url, MANIFEST))
    totals = manifest.totals
    if totals.unscored_images:
        logger.warning(
            "%d images share a sample with another one and were not scored", totals.unscored_images
        )
    folder.write_summary(totals.as_dict() | dict(facts))
