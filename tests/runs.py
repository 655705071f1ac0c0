"""Finished runs for tests: real annotations, manifest and records, without Ray."""

from __future__ import annotations

from pathlib import Path

from shardsift import annotate_shards
from shardsift.scoring.scorer import ImageScorer


def write_run(shards: Path, output: Path, scorer: ImageScorer) -> Path:
    """Leave behind what `shardsift score` does; the output."""
    annotate_shards(shards, scorer, output)
    return output
