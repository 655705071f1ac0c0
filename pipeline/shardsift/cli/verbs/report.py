"""`shardsift report`: the page that a person looks at."""

from __future__ import annotations

from rich.console import Console

from shardsift.cli.exit_codes import DONE
from shardsift.report.gather import gather
from shardsift.report.live import Start
from shardsift.report.page import render
from shardsift.report.thumbnails import fetch_thumbnails
from shardsift.storage.files import absolute, commit, join

REPORT = "report.html"


def run_report(
    annotations: str,
    output: str,
    console: Console,
    *,
    shards: str | None,
    start: Start,
    thumbnails: int,
    rows: int,
) -> int:
    """Write `report.html` below `output`; the exit code. `shards` wins over what the run says."""
    with console.status("reading annotations"):
        run = gather(annotations, limit=rows)
    root = absolute(shards) if shards is not None else run.root
    with console.status("fetching pictures"):
        pictures, problem = fetch_thumbnails(run, root, thumbnails)
    page = render(run, pictures, problem, start).encode()
    location = join(output, REPORT)
    commit(location, page)
    if problem is not None:
        console.print(problem, soft_wrap=True)
    if run.is_sampled:
        console.print(f"a sample: {run.rows_read:,} rows of {run.files_read:,} annotation files")
    console.print(f"report: {location} ({len(page) / 1e6:.1f} MB)", soft_wrap=True)
    return DONE
