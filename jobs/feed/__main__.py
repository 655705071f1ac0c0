"""How quickly one actor could feed a GPU: `python -m jobs.feed`, from a checkout.

0 done   2 a mistake to mend
"""

from __future__ import annotations

import sys
from typing import Any

import typer

from jobs.feed.feed_config import FeedConfig
from jobs.feed.run import run_feed
from shardsift.cli.console import start_console
from shardsift.cli.exit_codes import DONE, USER_ERROR
from shardsift.cli.flags import make_command
from shardsift.config import load_config
from shardsift.errors import ShardsiftError


def feed(_: typer.Context, given: dict[str, Any]) -> int:
    """Measure an actor whose model costs nothing, stages alone and together."""
    console = start_console()
    try:
        config = load_config(FeedConfig, given.pop("config", None), given)
        run_feed(config, console)
    except (ShardsiftError, OSError) as error:
        console.print(f"feed: {error}", soft_wrap=True)
        sys.exit(USER_ERROR)
    return DONE


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command("feed", help=feed.__doc__)(make_command(FeedConfig, feed))
    app()
