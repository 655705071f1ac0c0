"""Flags that several verbs take."""

from __future__ import annotations

from typing import Annotated

import typer

ConfigFile = Annotated[
    str | None,
    typer.Option(help="YAML file with settings, or a name such as laptop; flags win over it."),
]
Actors = Annotated[int | None, typer.Option(help="Number of actors; by default as many as fit.")]
CpusPerActor = Annotated[float | None, typer.Option(help="CPU cores of an actor.")]
Address = Annotated[str | None, typer.Option(help="Ray cluster; by default one is started here.")]
