"""Where verbs talk to people: stderr, so that stdout stays free for results."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from rich.console import Console
from rich.text import Text

from shardsift.progress import Course, Look
from shardsift.redaction import redact


class PlainConsole(Console):
    """Prints every string as it is, `[draft]` and `:smile:` too, less the secrets of URLs.

    It is the `Display` of every run.
    """

    def __init__(self, **options: Any) -> None:
        """Take the options of rich's consoles, such as `stderr`."""
        super().__init__(highlight=False, markup=False, emoji=False, **options)
        self._is_watching = False

    def render_str(self, text: str, **options: Any) -> Text:
        """Make a text of a string that is printed, or stands in a table."""
        return super().render_str(redact(text), **options)

    def say(self, text: str) -> None:
        """Print a line, which a terminal breaks where it ends and a log doesn't."""
        self.print(text, soft_wrap=True)

    def watch(self, look: Look) -> AbstractContextManager[None]:
        """Show how far something is, as long as the block lasts."""
        from shardsift.cli.progress import watching

        return watching(self, look)

    def track(self, items: Iterable[Any], title: str, total: int) -> Iterator[Any]:
        """Pass items on, and show how far they have come; of several at a time the outermost."""
        if self._is_watching:
            yield from items
            return
        course = Course(title, total=total)
        self._is_watching = True
        try:
            with self.watch(course.look):
                for item in items:
                    yield item
                    course.step()
        finally:
            self._is_watching = False


def failure(shard: str, problem: str) -> Text:
    """Tell of a shard, or another place, with which something is wrong."""
    return Text.assemble((redact(shard), "red"), redact(f": {problem}"))


def start_console() -> PlainConsole:
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
