"""The console prints text literally, without markup and without secrets."""

from __future__ import annotations

import logging

import pytest
from rich.table import Table

from shardsift.cli.console import PlainConsole, failure, start_console

ODD = "[/x] [draft] [red]:smile:[/] \\[a]"


def test_brackets_and_colons_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    console = PlainConsole()
    table = Table(title=ODD)
    table.add_column(ODD)
    table.add_row(ODD)
    console.print(ODD, failure(ODD, ODD), soft_wrap=True)
    console.print(table)
    said = capsys.readouterr().out
    assert said.count(ODD) == 6


def test_no_secret_of_a_url_is_printed_or_logged(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, root.handlers = root.handlers, []
    try:
        console = start_console()
        url = "ftp://me:secret@host/a"
        console.print(url, failure(url, url))
        logging.getLogger("shardsift.test").warning("%s: try %d", url, 2)
    finally:
        root.handlers = before
    said = capsys.readouterr().err
    assert "secret" not in said
    assert said.count("ftp://…@host/a") == 4
