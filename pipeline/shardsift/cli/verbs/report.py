"""`shardsift report`: the page that a person looks at."""

from __future__ import annotations

from shardsift.cli.console import DONE, PlainConsole
from shardsift.config.verb_settings import ReportConfig
from shardsift.reporting.written_pages import PageResult, write_report
from shardsift.storage.files import absolute
from shardsift.text import beside


def run(config: ReportConfig, console: PlainConsole) -> int:
    """Write `report.html` below the output; return the exit code."""
    page = write_report(config, console)
    tell_of_page("report", page, console, opens=config.open)
    keep = ["--keep-top", f"{config.keep_top:g}"]
    if config.min_quality is not None:
        keep = ["--min-quality", f"{config.min_quality:g}"]
    url = config.annotations
    console.suggest("filter", url, *page.flags, *keep, "--output", beside(url, "kept"))
    return DONE


def tell_of_page(name: str, page: PageResult, console: PlainConsole, *, opens: bool) -> None:
    """Print a page's notes and its place, and open it in a browser if that is asked for."""
    for note in page.notes:
        console.say(note)
    console.say(f"{name}: {page.url} ({page.bytes / 1e6:.1f} MB)")
    if opens:
        console.open_page(absolute(page.url))
