"""Finished runs for tests: real annotations, manifest and records, without Ray."""

from __future__ import annotations

from pathlib import Path

from shardsift.annotations.annotate import AnnotateSettings, annotate
from shardsift.annotations.folder import MANIFEST, OutputFolder
from shardsift.annotations.manifest import ManifestWriter
from shardsift.config import ScoreConfig
from shardsift.scoring.scorer import ImageScorer
from shardsift.shards.plan import plan_shards


def write_run(
    shards: Path, output: Path, scorer: ImageScorer, config: ScoreConfig | None = None
) -> Path:
    """What `shardsift score` leaves behind: every shard annotated, and the summary."""
    settings = AnnotateSettings(
        output=str(output),
        fingerprint=scorer.fingerprint,
        config=(config or ScoreConfig(model="compact")).model_dump(mode="json"),
        decode_threads=1,
        max_pixels=10**8,
    )
    plan = plan_shards([str(shards)])
    folder = OutputFolder(str(output))
    folder.begin(plan, settings.fingerprint, settings.config)
    with ManifestWriter() as manifest:
        for task in plan:
            manifest.add(annotate(task, scorer, settings))
        manifest.commit(str(output / MANIFEST))
        folder.write_summary(manifest.totals.as_dict() | {"images_per_second": 12.5})
    return output
