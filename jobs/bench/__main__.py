"""Speed on this machine: `python -m jobs.bench`, from a checkout.

0 done   2 a mistake to mend
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from shardsift.cli.console import start_console
from shardsift.cli.exit_codes import USER_ERROR
from shardsift.engine.environment import prepare_ray
from shardsift.errors import ShardsiftError


def bench(
    output: Annotated[Path, typer.Option(help="Folder for figures and chart.")] = Path("bench"),
    images: Annotated[
        int | None, typer.Option(min=1, help="Images in the shard that is raced.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Laps of each contestant.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Less of everything: minutes, and rougher figures.")
    ] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    no_ray: Annotated[bool, typer.Option("--no-ray", help="Leave out what needs Ray.")] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="Contestants with this word in their name.")
    ] = None,
) -> None:
    """Measure speed side by side with the published code and plain loops."""
    prepare_ray()
    console = start_console()
    with console.status("loading torch"):
        from jobs.bench.run import BenchConfig, run_bench

    config = BenchConfig(
        images=images or (6 if quick else 24),
        rounds=rounds or (2 if quick else 3),
        quick=quick,
        device=device,
        with_ray=not no_ray,
        only=only or (),
    )
    try:
        run_bench(output, config, console)
    except (ShardsiftError, OSError) as error:
        console.print(f"bench: {error}", soft_wrap=True)
        sys.exit(USER_ERROR)


if __name__ == "__main__":
    typer.run(bench)
