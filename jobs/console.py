"""Where verbs talk to people: stderr, so that stdout stays free for results."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def start_console() -> Console:
    """A console on stderr, and log lines through it."""
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
    for package in ("pipeline", "jobs"):
        logging.getLogger(package).setLevel(logging.INFO)
    return console
