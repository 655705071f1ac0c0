"""`shardsift score`: annotate the shards, and print a summary."""

from __future__ import annotations

from shardsift.cli.console import DONE, PlainConsole, report_end
from shardsift.config import RunConfig
from shardsift.runs.score_run import LoadModel, ScoreResult, load_maclip, score
from shardsift.text import beside, count


def run(config: RunConfig, console: PlainConsole, load: LoadModel = load_maclip) -> int:
    """Score what isn't scored yet; return the exit code."""
    code = report_result(score(config, console, load), config, console)
    if code == DONE and config.output and not config.dry_run:
        console.suggest("report", config.output, "--output", beside(config.output, "report"))
    return code


def report_result(result: ScoreResult, config: RunConfig, console: PlainConsole) -> int:
    """Print the counts; return exit code 0, 1 if shards failed, or 130 if the run was stopped."""
    counts = result.counts
    if counts.shards:
        console.say(
            f"scored {counts.items - counts.errors - counts.further:,} of {counts.items:,} images "
            f"in {count(counts.shards - counts.failed, 'shard')}, {counts.seconds:,.1f} s, "
            f"{counts.per_second:,.1f} images/s, into {config.output}"
        )
        console.say(counts.pace)
    return report_end(result, str(config.output), console)
