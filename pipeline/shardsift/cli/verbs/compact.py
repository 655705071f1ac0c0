"""`shardsift compact`: many small annotation files into few."""

from __future__ import annotations

from rich.console import Console

from shardsift.annotations.compact import compact
from shardsift.cli.console import tracking
from shardsift.cli.exit_codes import DONE
from shardsift.storage.redaction import redact


def run_compact(
    annotations: str, output: str, bytes_per_file: int, console: Console, *, overwrite: bool
) -> int:
    """Compact a folder of annotations, and tell what came of it; the exit code."""
    with tracking(console) as track:
        done = compact(
            annotations, output, bytes_per_file=bytes_per_file, overwrite=overwrite, track=track
        )
    console.print(
        f"compacted: {done.rows:,} rows of {done.shards:,} shards, in {done.files:,} files in "
        f"{redact(output)}",
        soft_wrap=True,
    )
    return DONE
