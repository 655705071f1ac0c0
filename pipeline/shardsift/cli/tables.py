"""Tables that fit: names may be broken, numbers never are, and long ones are cut short."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

_MOST_ROWS = 40
_NARROWEST_NAME = 12
_PADDING = 3
"""Characters of a column beside its text: a space on both sides, and the line behind it."""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """Content of a table.

    Attributes:
        rows: cells; the first `names` of each row are names, the others numbers.
        headings: of all columns; none for a table of names and values.
        below: rows that stand below a line, such as a sum; never left out.
        left_out: where to find the rows that don't stand here.
    """

    title: str
    rows: Sequence[Sequence[str]]
    headings: Sequence[str] = ()
    names: int = 1
    below: Sequence[Sequence[str]] = ()
    caption: str | None = None
    left_out: str = "see --json"

    def markdown(self) -> str:
        """Return it as Markdown, for papers and READMEs: all rows, at full width."""
        lines = [f"{self.title[0].upper()}{self.title[1:]}:\n"]
        lines += [_row(self.headings), "|" + " --- |" * len(self.headings)]
        lines += [_row(cells) for cells in (*self.rows, *self.below)]
        lines += [f"\n{self.caption}"] if self.caption else []
        return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    escaped = (cell.replace("|", r"\|").replace("\n", " ") for cell in cells)
    return "| " + " | ".join(escaped) + " |"


def tables_of(sheet: Sheet, width: int) -> Iterator[Table | Text]:
    """Lay a sheet out in tables of this width: several, if its columns don't fit beside each other.

    What else there is to say stands below them. Yields nothing for a sheet without a row.
    """
    if not sheet.rows and not sheet.below:
        return
    shown = sheet.rows[:_MOST_ROWS]
    notes = [sheet.caption] if sheet.caption else []
    if more := len(sheet.rows) - len(shown):
        notes.append(f"and {more:,} more, {sheet.left_out}")
    parts = _parts(sheet, shown, width)
    for number, columns in enumerate(parts):
        table = Table(
            title=None if number else sheet.title,
            show_header=bool(sheet.headings),
        )
        for column in columns:
            is_name = column < sheet.names
            table.add_column(
                sheet.headings[column] if sheet.headings else "",
                justify="left" if is_name else "right",
                no_wrap=not is_name,
                overflow="fold",
            )
        for row in shown:
            table.add_row(*(row[column] for column in columns))
        table.add_section()
        for row in sheet.below:
            table.add_row(*(row[column] for column in columns))
        yield table
    yield from (Text(note) for note in notes)


def _parts(sheet: Sheet, shown: Sequence[Sequence[str]], width: int) -> list[list[int]]:
    """Divide the columns: each part has the names, and as many numbers as fit beside them."""
    lines = [*([sheet.headings] if sheet.headings else []), *shown, *sheet.below]
    needs = [max(_longest(line[column]) for line in lines) for column in range(len(lines[0]))]
    names = list(range(sheet.names))
    room = width - 1 - sum(min(needs[name], _NARROWEST_NAME) + _PADDING for name in names)
    parts, free = [[*names]], room
    for column in range(sheet.names, len(needs)):
        if needs[column] + _PADDING > free and len(parts[-1]) > len(names):
            parts.append([*names])
            free = room
        parts[-1].append(column)
        free -= needs[column] + _PADDING
    return parts


def _longest(cell: str) -> int:
    return max(map(len, cell.splitlines()), default=0)
