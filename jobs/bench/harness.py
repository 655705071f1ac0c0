"""The parts that all measurements share: their settings, tables and files of figures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field
from rich import box
from rich.console import Console
from rich.table import Table

from shardsift.config import Config

_TABLE_WIDTH = 110


class Measurement(Config):
    """Settings of a measurement that writes figures."""

    output: Path = Field(default=Path("bench"), description="folder for the figures")

    def save(self, name: str, found: Any) -> Path:
        """Write `NAME.json` below the output."""
        self.output.mkdir(parents=True, exist_ok=True)
        path = self.output / f"{name}.json"
        path.write_text(json.dumps(found, default=vars, indent=2) + "\n")
        return path

    def write(self, name: str, found: Any, console: Console) -> None:
        """Write `NAME.json` below the output, and print where it is."""
        console.print(f"figures: {self.save(name, found)}", soft_wrap=True)


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    names: Sequence[int] = (0,),
    caption: str = "",
) -> Table:
    """Make a table; the columns `names` hold names, the others numbers."""
    found = Table(title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    for number, column in enumerate(columns):
        found.add_column(column, justify="left" if number in names else "right", no_wrap=True)
    for row in rows:
        found.add_row(*row)
    found.caption, found.caption_justify = caption or None, "left"
    found.show_header = any(columns)
    return found


def widen(console: Console) -> None:
    """Give tables their width where no terminal limits it."""
    if not console.is_terminal:
        console.width = _TABLE_WIDTH
