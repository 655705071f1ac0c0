"""The verbs that turn annotations into a clean corpus: `filter` and `stats`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command("filter")(filter_)
    app.command()(stats)


def filter_(
    context: typer.Context,
    annotations: Annotated[
        str | None, typer.Argument(help="The --output of a score run: a folder or URL.")
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="Folder or URL for what is kept.", metavar="URL")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file with settings; flags win over it.")
    ] = None,
    min_quality: Annotated[
        float | None, typer.Option(help="Keep samples of this quality or more.")
    ] = None,
    keep_top: Annotated[float | None, typer.Option(help="Keep this best share, such as 0.3.")] = (
        None
    ),
    keep_count: Annotated[int | None, typer.Option(help="Keep so many, the best.")] = None,
    of: Annotated[
        str | None, typer.Option(help="What --keep-top is a share of: scored (that pass) or all.")
    ] = None,
    where: Annotated[
        str | None, typer.Option(help="SQL condition, such as 'width >= 256 AND q_mag > 0.7'.")
    ] = None,
    per: Annotated[
        str | None,
        typer.Option(help="Take --keep-top within: prefix, megapixels, or a column of --join."),
    ] = None,
    join: Annotated[
        str | None, typer.Option(help="Parquet file or folder with the column of --per.")
    ] = None,
    errors: Annotated[
        str | None, typer.Option(help="drop or keep samples without a score.")
    ] = None,
    emit: Annotated[
        str | None, typer.Option(help="What to write, comma-separated: keep-list, uids.")
    ] = None,
    approximate: Annotated[
        bool | None, typer.Option("--approximate", help="Find the threshold without reading rows.")
    ] = None,
    allow_missing: Annotated[
        bool | None, typer.Option("--allow-missing", help="Go on without missing annotations.")
    ] = None,
    overwrite: Annotated[
        bool | None, typer.Option("--overwrite", help="Replace what an earlier filter wrote.")
    ] = None,
    dry_run: Annotated[
        bool | None, typer.Option("--dry-run", help="Find the threshold and count, write nothing.")
    ] = None,
) -> int:
    """Keep the best samples: an exact share, a number, or all above a threshold."""
    flags = {key: value for key, value in context.params.items() if value is not None}
    flags.pop("config", None)
    from jobs.console import start_console
    from jobs.filter import run_filter
    from pipeline.config import load_settings
    from pipeline.curation.settings import FilterConfig

    return run_filter(load_settings(FilterConfig, config, flags), start_console())


def stats(
    annotations: Annotated[str, typer.Argument(help="The --output of a score run.")],
    json: Annotated[bool, typer.Option("--json", help="As JSON, on stdout.")] = False,
) -> int:
    """Counts, quantiles and errors of a run, from its metadata alone."""
    from jobs.console import start_console
    from jobs.stats import run_stats

    return run_stats(annotations, start_console(), as_json=json)
