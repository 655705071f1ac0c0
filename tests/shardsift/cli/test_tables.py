"""Tables fit, cut no number, and count omitted rows."""

from __future__ import annotations

import io
import re

import pytest

from shardsift.cli.console import PlainConsole
from shardsift.cli.tables import Sheet


def printed(sheet: Sheet, width: int) -> str:
    screen = io.StringIO()
    PlainConsole(file=screen, width=width).tabulate(sheet)
    return screen.getvalue()


QUANTILES = Sheet(
    title="quantiles of quality",
    headings=["prefix", "1%", "5%", "25%", "50%", "75%", "95%", "99%"],
    rows=[["a folder of a rather long name", *(f"0.{n}{n}{n}" for n in range(1, 8))]],
    below=[["all", *(f"0.{n}{n}5" for n in range(1, 8))]],
)


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_numbers_are_never_cut(width: int) -> None:
    said = printed(QUANTILES, width)
    assert all(len(line) <= width for line in said.splitlines())
    assert "…" not in said
    numbers = [cell for line in (*QUANTILES.rows, *QUANTILES.below) for cell in line[1:]]
    assert sorted(re.findall(r"0\.\d+", said)) == sorted(numbers)


def test_columns_that_do_not_fit_follow_in_a_second_table_with_the_names() -> None:
    said = printed(QUANTILES, 50)
    assert said.count("prefix") == 2
    assert said.count("quantiles of quality") == 1
    assert printed(QUANTILES, 120).count("prefix") == 1


def test_long_names_are_broken_and_not_cut() -> None:
    said = printed(Sheet(title="", headings=["shard", "rows"], rows=[["x" * 90, "1,234"]]), 40)
    assert said.count("x") == 90
    assert "1,234" in said


def test_many_rows_are_left_out_and_counted() -> None:
    rows = [[f"part-{number}", str(number)] for number in range(120)]
    sheet = Sheet(title="per prefix", headings=["part", "rows"], rows=rows, below=[["all", "7140"]])
    said = printed(sheet, 80)
    assert "part-39 " in said
    assert "part-40 " not in said
    assert "and 80 more, see --json" in said
    assert "7140" in said


def test_an_empty_table_is_not_shown() -> None:
    assert printed(Sheet(title="attributes", headings=["", "mean"], rows=[]), 80) == ""
