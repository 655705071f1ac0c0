"""`shardsift reshard`: write the clean corpus, on Ray."""

from __future__ import annotations

from shardsift.cli.console import DONE, PlainConsole, report_end
from shardsift.config.verb_settings import ReshardConfig
from shardsift.runs.reshard_run import reshard
from shardsift.text import byte_size, count


def run(config: ReshardConfig, console: PlainConsole) -> int:
    """Write all tars of the plan that are not there yet; return the exit code."""
    result = reshard(config, console)
    counts = result.counts
    if not counts.shards_total and result.summary is None:
        return DONE  # a dry run
    if counts.shards:
        speed = byte_size(counts.work / max(counts.seconds, 1e-9))
        console.say(
            f"wrote {count(counts.shards - counts.failed, 'shard')}: {counts.items:,} samples, "
            f"{byte_size(counts.work)}, {speed}/s, into {result.url}"
        )
    again = ", and to write sizes.json at the end"
    if code := report_end(result, result.url, console, again):
        return code
    if summary := result.summary:
        if made := summary.json_made:
            console.say(f"{count(made, 'sample')} got a .json, as they had none")
        if left := summary.json_left:
            console.say(f"{count(left, '.json')} not changed, as they hold no JSON object")
        if split := summary.split:
            console.say(
                f"{count(split, 'sample')} lost files, such as captions, that don't stand beside "
                "their image in the source: pack its tars in order (tar --sort=name), score and "
                "filter again"
            )
        console.suggest("verify", result.url)
    return DONE
