"""`shardsift ask`: new questions to a corpus that has embeddings, on Ray."""

from __future__ import annotations

from shardsift.asking.ask_config import AskConfig
from shardsift.asking.prepare import Ask, prepare
from shardsift.cli.console import PlainConsole
from shardsift.cli.exit_codes import DONE
from shardsift.cli.outcome import tell
from shardsift.commands import beside
from shardsift.config import ATTRIBUTE_PREFIX
from shardsift.progress import count
from shardsift.runs.ask import answer


def run(config: AskConfig, console: PlainConsole) -> int:
    """Answer what isn't answered yet; return the exit code.

    Raises:
        UserError: before anything is written but a probe and `_running.json`, which are removed.
    """
    asked = prepare(config, console.track)
    if not asked.open_tasks and asked.folder.is_finished:
        shards = count(len(asked.tasks), "shard")
        console.print(
            f"nothing to do: {shards} answered already in {asked.folder.url}", soft_wrap=True
        )
        return DONE
    with asked.folder.hold(force=config.force):
        return _finish(asked, console)


def _finish(asked: Ask, console: PlainConsole) -> int:
    result = answer(asked, console)
    tally = result.tally
    numbers = [f"{tally.items:,} rows", f"{tally.per_second:,.0f} rows/s"]
    if code := tell(result, "asked", numbers, asked.folder.url, console):
        return code
    summary = asked.folder.finish(asked.tasks, result.reports)
    means = ", ".join(f"{name} {mean:.3f}" for name, mean in summary.means.items())
    console.say(f"means of {summary.answered:,} pictures: {means or 'none'}")
    if summary.means:
        _suggest_filter(asked, next(iter(summary.means)), console)
    return DONE


def _suggest_filter(asked: Ask, column: str, console: PlainConsole) -> None:
    scores, answers = asked.config.annotations, asked.folder.url
    first, second = asked.record.attributes[column.removeprefix(ATTRIBUTE_PREFIX)][0]
    console.say(f"{column}: near 1 for {first!r}, near 0 for {second!r}; to drop the former:")
    rule = ["--join", answers, "--where", f"{column} < 0.5", "--keep-top", "1"]
    console.suggest("filter", scores, *rule, "--output", beside(answers, "kept"))
