"""Outputs as runs leave them, and ways to harm their files; real ones, without Ray."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shardsift import annotate_shards
from shardsift.documents import DIGEST
from shardsift.scoring.scorer import ImageScorer
from tests.fakes import FakeScorer


def write_run(shards: Path, output: Path, scorer: ImageScorer) -> Path:
    """Leave behind what `shardsift score` does; the output."""
    annotate_shards(shards, scorer, output)
    return output


def score_again(shards: Path, out: Path) -> list[str]:
    """Do what `shardsift score` does, resuming included; the shards that it worked on."""
    return [outcome.shard for outcome in annotate_shards(shards, FakeScorer(), out)]


def annotation_files(out: Path) -> dict[str, bytes]:
    """All annotation files, to be compared byte by byte."""
    paths = sorted(out.rglob("[!_]*.parquet"))
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def kept_rows(output: Path) -> set[tuple[str, int]]:
    """Shard and index of each row of a filter's keep-list."""
    files = (output / "keep-list").rglob("*.parquet")
    rows = (row for file in files for row in pq.ParquetFile(file).read().to_pylist())
    return {(row["shard"], row["index"]) for row in rows}


def edit_rows(path: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Change the rows of a Parquet file or a table of ours, and keep its metadata."""
    is_ours = path.suffix == ".arrow"
    table = pa.ipc.open_file(path.read_bytes()).read_all() if is_ours else pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    changed = pa.Table.from_pylist(rows, table.schema)
    if not is_ours:
        pq.write_table(changed, path)
        return
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(changed)


def edit_json(path: Path, **changes: object) -> None:
    """Change a record of ours, and remove its digest."""
    content = {key: value for key, value in json.loads(path.read_text()).items() if key != DIGEST}
    path.write_text(json.dumps(content | changes))


def edit_footer(path: Path, **claims: str) -> None:
    """Change the footer of an annotation file, and keep its rows."""
    table = pq.read_table(path)
    metadata = {f"shardsift.{key}".encode(): value.encode() for key, value in claims.items()}
    kept = {key: value for key, value in table.schema.metadata.items() if key not in metadata}
    pq.write_table(table.replace_schema_metadata(kept | metadata), path)


def left_by_a_dead_process(folder: Path) -> Path:
    """A file that was about to appear in a folder when its process was killed."""
    script = (
        "import os, sys; from pathlib import Path; from shardsift.storage.local import appearing\n"
        "with appearing(Path(sys.argv[1])) as file: file.write(b'half'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", script, str(folder / "whole")], check=False)
    (leftover,) = folder.glob("_*.tmp")
    return leftover
