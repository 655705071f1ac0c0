"""Where verbs talk to people: stderr, so that stdout stays free for results."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def start_console() -> Console:
    """Make a console on stderr, and send log lines through it."""
    from rich.console import Console
    from rich.logging import RichHandler

    console = Console(stderr=True, highlight=False)
    if console.is_terminal:
        handler: logging.Handler = RichHandler(console=console, show_path=False)
        form = "%(message)s"
    else:
        handler, form = logging.StreamHandler(), "%(asctime)s %(levelname)s %(message)s"
    logging.basicConfig(level=logging.WARNING, handlers=[handler], format=form)
    logging.getLogger("huggingface_hub").propagate = False  # it prints its lines itself
    for package in ("shardsift", "jobs"):
        logging.getLogger(package).setLevel(logging.INFO)
    return console


@contextmanager
def tracking(console: Console) -> Generator[Callable[[Iterable[Any], str, int], Iterable[Any]]]:
    """Yield a function that passes items on and shows how far they are: items, title, total."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    title = TextColumn("{task.description}")
    columns = title, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    hidden = not console.is_terminal  # a log would only get an empty line
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        yield lambda items, title, total: progress.track(items, total=total, description=title)
