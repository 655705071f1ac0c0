"""`shardsift report`: the page that a person looks at."""

from __future__ import annotations

from shardsift.cli.configs import ReportConfig
from shardsift.cli.console import PlainConsole
from shardsift.cli.exit_codes import DONE
from shardsift.commands import beside
from shardsift.report.gather import gather
from shardsift.report.live import Start
from shardsift.report.page import fetch_pictures, render
from shardsift.storage.files import absolute, commit, join

REPORT = "report.html"


def run(config: ReportConfig, console: PlainConsole) -> int:
    """Write `report.html` below the output; return the exit code."""
    data = gather(config.annotations, limit=config.rows, track=console.track)
    root = absolute(config.shards) if config.shards is not None else data.root
    pictures = fetch_pictures(data, root, config.thumbnails, console.track)
    start = Start(min_quality=config.min_quality, keep_top=config.keep_top)
    page = render(data, pictures, start).encode()
    location = join(config.output, REPORT)
    commit(location, page)
    if pictures.problem is not None:
        console.say(pictures.problem)
    if data.is_sampled:
        console.say(f"a sample: {data.rows_read:,} rows of {data.files_read:,} annotation files")
    console.say(f"report: {location} ({len(page) / 1e6:.1f} MB)")
    keep = ["--keep-top", f"{config.keep_top:g}"]
    if config.min_quality is not None:
        keep = ["--min-quality", f"{config.min_quality:g}"]
    url = config.annotations
    console.suggest("filter", url, *keep, "--output", beside(url, "kept"))
    return DONE
