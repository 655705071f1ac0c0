"""`shardsift compact`, also `python -m jobs.compact`: many small annotation files into few."""

from __future__ import annotations

import sys

from rich.console import Console

from jobs.console import tracking
from jobs.exit_codes import DONE
from pipeline.curation.compact import compact
from pipeline.redaction import redact


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


if __name__ == "__main__":
    from jobs.cli import main

    sys.exit(main(["compact", *sys.argv[1:]]))
