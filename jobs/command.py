"""The command line of a measurement: flags from its config, errors in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import typer

from shardsift.cli.console import PlainConsole, start_console
from shardsift.cli.exit_codes import DONE, USER_ERROR
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
    """Read the command line, measure, and end this process: 0 done, 2 a mistake to mend."""

    def job(_: typer.Context, given: dict[str, Any]) -> int:
        console = start_console()
        try:
            measure(load_config(config_type, given.pop("config", None), given), console)
        except (ShardsiftError, OSError) as error:
            console.print(f"{name}: {error}", soft_wrap=True)
            sys.exit(USER_ERROR)
        return DONE

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(name, help=summary)(make_command(config_type, job))
    app()
