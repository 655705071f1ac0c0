"""A line that fits where somebody looks, lines of a log where a file is written."""

from __future__ import annotations

import io
import logging

import pytest

from shardsift.cli.console import PlainConsole
from shardsift.cli.progress_line import as_log_line, duration, parts_of, showing_progress
from shardsift.progress import Snapshot

SHOWN = Snapshot(
    doing="scoring",
    share=0.4357,
    items=1234,
    noun="images",
    total=2870,
    is_estimate=True,
    rate=35.25,
    left=72.4,
    notes=["3 without a score", "2 actors"],
)


def test_what_matters_most_comes_first_and_estimates_are_marked() -> None:
    assert as_log_line(SHOWN) == (
        "scoring: 43%, ~0:01:12 left, 1,234/~2,870 images, 3 without a score, 2 actors, 35.2/s"
    )


def test_only_the_end_is_a_hundred_percent() -> None:
    assert parts_of(Snapshot(doing="x", share=0.9999)) == ["99%"]
    assert parts_of(Snapshot(doing="x", share=1.0)) == ["100%"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00:00"), (59.6, "0:01:00"), (93784, "1 d 2:03:04")]
)
def test_durations_are_clocks(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("width", [50, 80, 200])
def test_a_terminal_shows_a_line_and_takes_it_away(width: int) -> None:
    screen = io.StringIO()
    console = PlainConsole(file=screen, force_terminal=True, width=width)
    with console.show_progress(lambda: SHOWN):
        while "43% · ~0:01:12 left" not in screen.getvalue():
            pass
    assert ("35.2/s" in screen.getvalue()) == (width == 200)
    assert screen.getvalue().endswith("\x1b[2K")


def test_a_file_gets_lines_once_in_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = io.StringIO()
    with (
        caplog.at_level(logging.INFO, "shardsift"),
        showing_progress(
            PlainConsole(file=file), lambda: SHOWN, is_drawn=False, log_seconds=(0.01, 0.01)
        ),
    ):
        while not caplog.messages:
            pass
    assert caplog.messages[0] == as_log_line(SHOWN)
    assert file.getvalue() == ""


def test_tracked_items_pass_on_and_are_counted() -> None:
    screen = io.StringIO()
    console = PlainConsole(file=screen, force_terminal=True, width=100)
    for item in console.track(console.track(range(3), "inner", 3), "outer", 3):
        while f"{item}/3" not in screen.getvalue():
            pass
    assert "outer" in screen.getvalue()
    assert "inner" not in screen.getvalue()


def test_an_error_of_what_is_tracked_is_raised() -> None:
    console = PlainConsole(file=io.StringIO(), force_terminal=True)
    with pytest.raises(ZeroDivisionError):
        list(console.track((1 // n for n in (1, 0)), "x", 2))
    assert list(console.track([1], "x", 1)) == [1]
