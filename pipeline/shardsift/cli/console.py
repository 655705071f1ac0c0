"""Where verbs talk to people: stderr, so that stdout stays free for results."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.text import Text

from shardsift.redaction import redact


class PlainConsole(Console):
    """Prints every string as it is, `[draft]` and `:smile:` too, less the secrets of URLs."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Make a text of a string that is printed, or stands in a table."""
        return super().render_str(redact(text), **options)


def failure(shard: str, problem: str) -> Text:
    """Tell of a shard, or another place, with which something is wrong."""
    return Text.assemble((redact(shard), "red"), redact(f": {problem}"))


def start_console() -> Console:
    """Make a console on stderr, and send log lines through it."""
    from rich.logging import RichHandler

    console = PlainConsole(stderr=True)
    if console.is_terminal:
        handler: logging.Handler = RichHandler(console=console, show_path=False)
        form = "%(message)s"
    else:
        handler, form = logging.StreamHandler(), "%(asctime)s %(levelname)s %(message)s"
    handler.addFilter(_without_secrets)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], format=form)
    logging.getLogger("huggingface_hub").propagate = False  # it prints its lines itself
    for package in ("shardsift", "jobs"):
        logging.getLogger(package).setLevel(logging.INFO)
    return console


def _without_secrets(record: logging.LogRecord) -> bool:
    """Redact a log line before it is written."""
    record.msg, record.args = redact(record.getMessage()), ()
    return True


@contextmanager
def tracking(console: Console) -> Generator[Callable[[Iterable[Any], str, int], Iterable[Any]]]:
    """Yield a function that passes items on and shows how far they are: items, title, total."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    title = TextColumn("{task.description}")
    columns = title, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    hidden = not console.is_terminal  # a log would only get an empty line
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        yield lambda items, title, total: progress.track(items, total=total, description=title)
