"""A small run with embeddings, and `ask` without Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from shardsift import ScoreConfig, Scorer, annotate_shards
from shardsift.annotations.answers import answer_shard
from shardsift.config.verb_settings import AskConfig
from shardsift.outputs.json_records import RunSummary
from shardsift.outputs.manifest import ManifestWriter
from shardsift.runs.ask_run import prepare
from tests.samples import encoded, write_tar

BLURRY = "blurry=a blurry photo|a sharp photo"
TEXT = "text=a picture with words|a picture without words"
SHARDS = ["0.tar", "1.tar", "more/2.tar"]


def files(shard: int) -> list[tuple[str, bytes]]:
    """Some pictures, one of them broken, and a key that is used twice."""
    names = ["a.jpg", "b.jpg", "c.jpg", "a.jpg"]
    return [
        (name, encoded(seed=10 * shard + number)[: 60 if name == "b.jpg" else None])
        for number, name in enumerate(names)
    ]


def score_pictures(folder: Path) -> Path:
    """Leave a run of 12 rows in `out`, 9 with a score, an attribute and an embedding."""
    for number, shard in enumerate(SHARDS):
        write_tar(folder / "in" / shard, files(number))
    return score_again(folder)


def score_again(folder: Path) -> Path:
    """Score the shards that have no annotation."""
    asked = {"blurry": (("a blurry photo", "a sharp photo"),)}
    config = ScoreConfig(model="compact", crops="global")
    scorer = Scorer(config, attributes=asked, embeddings=True)
    annotate_shards(folder / "in", scorer, folder / "out")
    return folder / "out"


def ask_here(scores: Path, out: Path, *questions: str, **settings: Any) -> RunSummary:
    """Do what `shardsift ask` does, in this process."""
    values = {"annotations": str(scores), "output": str(out), "attribute": questions}
    run = prepare(AskConfig.model_validate(values | settings))
    run.begin()
    with ManifestWriter() as manifest:
        for task in run.open_tasks:
            manifest.add(answer_shard(run.inputs, task))
        return run.finish(manifest, 1.0, actors=1)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    tables = [pq.ParquetFile(folder / f"{name[:-4]}.parquet").read() for name in SHARDS]
    return [row for table in tables for row in table.to_pylist()]
