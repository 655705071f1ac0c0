"""`shardsift export`: scores where people keep their metadata."""

from __future__ import annotations

from shardsift.cli.console import DONE, PlainConsole
from shardsift.config.verb_settings import ExportConfig
from shardsift.exporting.export import export
from shardsift.text import count


def run(config: ExportConfig, console: PlainConsole) -> int:
    """Export, and print the result; return the exit code."""
    done = export(config, console.track)
    if config.to:
        console.say(f"exported: {done.rows:,} rows, into {config.output}")
        return DONE
    console.say(
        f"exported: {count(done.files, 'file')} with {done.rows:,} rows, into {config.output}"
    )
    lacking = done.rows - done.matched
    nulls = f"; {lacking:,} have none, and null in the new columns" if lacking else ""
    console.say(f"{done.matched:,} rows have an annotation by {done.by}{nulls}")
    return DONE
