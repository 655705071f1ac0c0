"""Speed on this machine: `python -m jobs.bench`, from a checkout.

0 done   2 a mistake to mend
"""

from __future__ import annotations

import sys
from typing import Any

import typer

from jobs.bench.bench_config import BenchConfig
from shardsift.cli.console import start_console
from shardsift.cli.exit_codes import DONE, USER_ERROR
from shardsift.cli.flags import make_command
from shardsift.config import load_config
from shardsift.engine.environment import prepare_ray
from shardsift.errors import ShardsiftError


def bench(_: typer.Context, given: dict[str, Any]) -> int:
    """Measure speed side by side with the published code and plain loops."""
    prepare_ray()
    console = start_console()
    try:
        config = load_config(BenchConfig, given.pop("config", None), given)
        with console.status("loading torch"):
            from jobs.bench.run import run_bench

        run_bench(config, console)
    except (ShardsiftError, OSError) as error:
        console.print(f"bench: {error}", soft_wrap=True)
        sys.exit(USER_ERROR)
    return DONE


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command("bench", help=bench.__doc__)(make_command(BenchConfig, bench))
    app()
