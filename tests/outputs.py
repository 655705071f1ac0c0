"""Outputs as runs leave them, and ways to harm their files; real ones, without Ray."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shardsift.annotations.annotate import AnnotateSettings, annotate
from shardsift.annotations.folder import MANIFEST, OutputFolder
from shardsift.annotations.manifest import ManifestWriter
from shardsift.annotations.parquet import read_footer
from shardsift.errors import ShardError
from shardsift.records import FailedShard
from shardsift.shards.plan import plan_shards
from tests.fakes import FakeScorer


def score_again(shards: Path, out: Path) -> list[str]:
    """What `shardsift score` does, resuming included; the shards that it scored."""
    plan = plan_shards([str(shards)])
    folder = OutputFolder(str(out))
    plan = folder.claim(plan, FakeScorer.fingerprint, {}, overwrite=False)
    folder.begin(plan, FakeScorer.fingerprint, {})
    settings = AnnotateSettings(
        output=str(out),
        fingerprint=FakeScorer.fingerprint,
        config={},
        decode_threads=1,
        max_pixels=1 << 20,
    )
    scored: list[str] = []
    with ManifestWriter() as manifest:
        for task in plan:
            if task.annotation in folder.committed:
                manifest.add(read_footer(str(out / task.annotation)).report)
                continue
            scored.append(task.shard)
            try:
                manifest.add(annotate(task, FakeScorer(), settings))
                folder.forget_failed(task.shard)
            except ShardError as error:
                failed = FailedShard(
                    shard=task.shard, url=task.url, reason=error.problem, attempts=1
                )
                folder.write_failed(failed)
                manifest.add(failed)
        manifest.commit(str(out / MANIFEST))
        totals = manifest.totals.as_dict()
    folder.write_summary(totals | {"fingerprint": FakeScorer.fingerprint, "seconds": 1.0})
    return scored


def annotation_files(out: Path) -> dict[str, bytes]:
    """All annotation files, to be compared byte by byte."""
    paths = sorted(out.rglob("[!_]*.parquet"))
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def edit_rows(path: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Change the rows of a Parquet file, and leave its footer's claims as they are."""
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, table.schema), path)


def edit_footer(path: Path, **claims: str) -> None:
    """Change what the footer of an annotation file says, and leave its rows."""
    table = pq.read_table(path)
    metadata = {f"shardsift.{key}".encode(): value.encode() for key, value in claims.items()}
    kept = {key: value for key, value in table.schema.metadata.items() if key not in metadata}
    pq.write_table(table.replace_schema_metadata(kept | metadata), path)
