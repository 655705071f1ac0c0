"""`shardsift compact`: many small annotation files into few."""

from __future__ import annotations

from shardsift.cli.console import DONE, PlainConsole
from shardsift.config.verb_settings import CompactConfig
from shardsift.outputs.compaction import compact
from shardsift.text import count


def run(config: CompactConfig, console: PlainConsole) -> int:
    """Compact a folder of annotations, and print the result; return the exit code."""
    done = compact(
        config.annotations,
        config.output,
        bytes_per_file=config.bytes_per_file,
        overwrite=config.overwrite,
        track=console.track,
    )
    console.say(
        f"compacted: {done.rows:,} rows of {count(done.shards, 'shard')}, in "
        f"{count(done.files, 'file')} in {config.output}"
    )
    if done.left_embeddings:
        console.say(f"embeddings were not copied; pass {config.annotations} to `ask`")
    console.suggest("verify", config.output)
    return DONE
