"""The command line of a measurement: flags from its config, errors in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import typer

from shardsift.cli.console import (
    DONE,
    INTERRUPTED,
    TALK,
    USER_ERROR,
    PlainConsole,
    Talk,
    start_console,
)
from shardsift.cli.flags import make_command
from shardsift.config import Config, load_config
from shardsift.errors import ShardsiftError

ConfigT = TypeVar("ConfigT", bound=Config)


def run_job(
    name: str,
    config_type: type[ConfigT],
    measure: Callable[[ConfigT, PlainConsole], None],
    summary: str,
) -> None:
    """Read the command line, measure, and end this process.

    0 done   2 a mistake to mend   130 interrupted
    """

    def job(_: typer.Context, given: dict[str, Any]) -> int:
        talk = Talk(**{name: given.pop(name) for name in TALK & given.keys()})
        console = start_console(talk)
        try:
            measure(load_config(config_type, given.pop("config", None), given), console)
        except KeyboardInterrupt:
            console.print(f"{name}: interrupted; run the same command again")
            sys.exit(INTERRUPTED)
        except (ShardsiftError, OSError) as error:
            console.print(f"{name}: {error}", soft_wrap=True)
            sys.exit(USER_ERROR)
        return DONE

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(name, help=summary)(make_command(config_type, job))
    app()
