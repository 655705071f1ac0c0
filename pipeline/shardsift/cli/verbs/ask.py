"""`shardsift ask`: new questions to a corpus that has embeddings, on Ray."""

from __future__ import annotations

from shardsift.cli.console import DONE, PlainConsole, report_end
from shardsift.config.verbs import AskConfig
from shardsift.runs.ask import answer, prepare
from shardsift.text import beside, count


def run(config: AskConfig, console: PlainConsole) -> int:
    """Answer what isn't answered yet; return the exit code.

    Raises:
        UserError: before anything is written but a probe and `_running.json`, which are removed.
    """
    asked = prepare(config, console.track)
    where = asked.folder.url
    if not asked.open_tasks and asked.folder.is_finished:
        shards = count(asked.plan.count, "shard")
        console.print(f"nothing to do: {shards} answered already in {where}", soft_wrap=True)
        return DONE
    with asked.folder.hold(force=config.force):
        result, summary = answer(asked, console)
    counts = result.counts
    if counts.shards:
        console.say(
            f"asked {count(counts.shards - counts.failed, 'shard')}: {counts.items:,} rows, "
            f"{counts.per_second:,.0f} rows/s, into {where}"
        )
    if (code := report_end(result, where, console)) or not summary:
        return code
    console.say(f"means: {', '.join(f'{n} {mean:.3f}' for n, mean in summary.means.items())}")
    for column in asked.contents.further[:1]:
        console.say(f"{column.name}: {column.meaning}; to drop what is near 1:")
        rule = ["--with", where, "--where", f"{column.name} < 0.5", "--keep-top", "1"]
        console.suggest("filter", config.annotations, *rule, "--output", beside(where, "kept"))
    return DONE
