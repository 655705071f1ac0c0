"""`shardsift ask`: new questions to a corpus that has embeddings, on Ray."""

from __future__ import annotations

from shardsift.cli.console import DONE, PlainConsole, report_end
from shardsift.config import ATTRIBUTE_PREFIX
from shardsift.config.verb_settings import AskConfig
from shardsift.runs.ask_run import ask
from shardsift.text import beside, count


def run(config: AskConfig, console: PlainConsole) -> int:
    """Answer what isn't answered yet; return the exit code."""
    result = ask(config, console)
    counts, where = result.counts, result.url
    if counts.shards:
        console.say(
            f"asked {count(counts.shards - counts.failed, 'shard')}: {counts.items:,} rows, "
            f"{counts.per_second:,.0f} rows/s, into {where}"
        )
    if (code := report_end(result, where, console)) or not result.summary:
        return code
    means = result.summary.means.items()
    console.say(f"means: {', '.join(f'{name} {mean:.3f}' for name, mean in means)}")
    for column in result.columns[:1]:
        if column.name.startswith(ATTRIBUTE_PREFIX):
            console.say(f"{column.name}: {column.meaning}; to drop what is near 1:")
            rule = ["--with", where, "--where", f"{column.name} < 0.5", "--keep-top", "1"]
        else:
            console.say(f"{column.name}: {column.meaning}; to keep the highest:")
            rule = ["--with", where, "--by", column.name, "--keep-top", "0.3"]
        console.suggest("filter", config.annotations, *rule, "--output", beside(where, "kept"))
    return DONE
