"""The console of all verbs, on stderr, so that stdout stays free for results; and exit codes."""

from __future__ import annotations

import json
import logging
import webbrowser
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.segment import Segment
from rich.text import Text

from shardsift.cli.tables import Sheet, tables_of
from shardsift.progress import Course, TakeSnapshot
from shardsift.redaction import clean, shown
from shardsift.text import command, count

if TYPE_CHECKING:  # Ray takes seconds to load
    from shardsift.engine.run_loop import RunResult

DONE: Final = 0
FAILED: Final = 1
USER_ERROR: Final = 2
INTERRUPTED: Final = 130

MEANINGS = {
    DONE: "done",
    FAILED: "finished, but some shards or checks failed; they are listed",
    USER_ERROR: "a mistake; one line names the next step",
    INTERRUPTED: (
        "stopped by Ctrl-C or SIGTERM; the last line says whether the same command resumes or "
        "starts again"
    ),
}


class PlainConsole(Console):
    """Prints strings literally, also `[draft]` and `:smile:`, without secrets and escapes.

    It is the `Display` of every run.
    """

    def __init__(self, *, is_quiet: bool = False, **options: Any) -> None:
        """Take the options of rich's consoles, such as `stderr`; a quiet one only prints."""
        super().__init__(highlight=False, markup=False, emoji=False, **options)
        self.is_quiet = is_quiet
        self._is_showing = False

    def render_str(self, text: str, **options: Any) -> Text:
        """Convert a string to printable text."""
        return super().render_str(shown(text), **options)

    def render(self, *what: Any, **options: Any) -> Iterator[Segment]:
        """Render as rich does; what no `render_str` has seen is made fit to be printed here."""
        for segment in super().render(*what, **options):
            yield segment if segment.control else segment._replace(text=shown(segment.text))

    def say(self, text: str) -> None:
        """Print a line about the work, which a terminal breaks between words."""
        if not self.is_quiet:
            self.print(text, soft_wrap=not self.is_terminal)

    def document(self, content: Any) -> None:
        """Print JSON, for programs."""
        self.print(json.dumps(content, indent=2), soft_wrap=True)

    def tabulate(self, *sheets: Sheet) -> None:
        """Print tables, as wide as there is room."""
        for sheet in sheets:
            for part in tables_of(sheet, self.width):
                self.print(part)

    def suggest(self, verb: str, *words: str) -> None:
        """Show the command that is of use next, in one piece."""
        if not self.is_quiet:
            self.print(f"next: {command(verb, *words)}", soft_wrap=True)

    def open_page(self, url: str) -> None:
        """Open a page in a browser: a path, or a URL that browsers know."""
        webbrowser.open(url if "://" in url else f"file://{url}")

    def show_progress(self, snapshot: TakeSnapshot) -> AbstractContextManager[None]:
        """Show progress while the block runs."""
        from shardsift.cli.progress_line import showing_progress

        return showing_progress(self, snapshot, is_drawn=self.is_terminal and not self.is_quiet)

    def busy(self, what: str) -> AbstractContextManager[Any]:
        """Show an activity while the block runs."""
        return nullcontext() if self.is_quiet else self.status(what)

    def track(self, items: Iterable[Any], title: str, total: int) -> Iterator[Any]:
        """Pass items on, and show progress; only that of the outermost of nested calls."""
        if self._is_showing:
            yield from items
            return
        course = Course(title, total=total)
        self._is_showing = True
        try:
            with self.show_progress(course.snapshot):
                for item in items:
                    yield item
                    course.step()
        finally:
            self._is_showing = False


def failure(shard: str, problem: str) -> Text:
    """Format a shard or another place, and its problem."""
    return Text.assemble((shard, "red"), f": {problem}")


def report_end(result: RunResult[Any], where: str, console: PlainConsole, again: str = "") -> int:
    """Print the shards that failed and whether the run was stopped; return the exit code.

    `again` describes what else the same command does once no shard fails.
    """
    counts = result.counts
    for failed in result.failed:
        console.print("failed", failure(failed.shard, failed.reason), soft_wrap=True)
    if counts.failed:
        console.say(
            f"{count(counts.failed, 'shard')} failed, see {where}/_failed; run the same command "
            f"to try them again{again}"
        )
    if result.interrupted:
        left = counts.shards_total - counts.shards
        console.say(f"stopped; run the same command again for the other {count(left, 'shard')}")
        return INTERRUPTED
    return FAILED if counts.failed else DONE


@dataclass(frozen=True, kw_only=True, slots=True)
class Talk:
    """Verbosity: `quiet` prints only warnings and results, `verbose` also debug messages."""

    quiet: bool = False
    verbose: bool = False


TALK = {field.name for field in fields(Talk)}
"""Names of its options."""


def start_console(talk: Talk | None = None) -> PlainConsole:
    """Make a console on stderr, and send log lines through it."""
    from rich.logging import RichHandler

    talk = talk or Talk()
    console = PlainConsole(stderr=True, is_quiet=talk.quiet)
    if console.is_terminal:
        handler: logging.Handler = RichHandler(console=console, show_path=False)
        form = "%(message)s"
    else:
        handler, form = logging.StreamHandler(), "%(asctime)s %(levelname)s %(message)s"
    handler.addFilter(clean)
    handler.setLevel(logging.WARNING if talk.quiet else logging.NOTSET)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], format=form)
    logging.getLogger("huggingface_hub").propagate = False  # it has a handler of its own
    for package in ("shardsift", "jobs"):
        logging.getLogger(package).setLevel(logging.DEBUG if talk.verbose else logging.INFO)
    return console
