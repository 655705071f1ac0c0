"""The verbs that turn annotations into a clean corpus: `filter`, `reshard`, `compact`, `stats`."""

from __future__ import annotations

from typing import Annotated

import typer

from shardsift.cli.flags import Actors, Address, ConfigFile, CpusPerActor
from shardsift.engine.environment import prepare_ray


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command("filter")(filter_)
    app.command()(reshard)
    app.command()(compact)
    app.command()(stats)


def filter_(
    context: typer.Context,
    annotations: Annotated[
        str | None, typer.Argument(help="The --output of a score run: a folder or URL.")
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="Folder or URL for what is kept.", metavar="URL")
    ] = None,
    config: ConfigFile = None,
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
        str | None, typer.Option(help="What to write, comma-separated: keep-list, uids, shards.")
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
    from shardsift.cli.console import start_console
    from shardsift.cli.verbs.filter import run_filter
    from shardsift.config import load_settings
    from shardsift.curation.settings import FilterConfig

    settings, console = load_settings(FilterConfig, config, flags), start_console()
    exit_code = run_filter(settings, console)
    if "shards" not in settings.emit or settings.output is None or settings.dry_run:
        return exit_code
    prepare_ray()
    from shardsift.cli.verbs.reshard import run_reshard
    from shardsift.reshard.settings import ReshardConfig

    output, overwrite = f"{settings.output.rstrip('/')}/shards", settings.overwrite
    config_ = ReshardConfig(keep=settings.output, output=output, overwrite=overwrite)
    return run_reshard(config_, console)


def reshard(
    context: typer.Context,
    shards: Annotated[
        list[str] | None,
        typer.Argument(help="The scored tars; by default those that the score run recorded."),
    ] = None,
    keep: Annotated[str | None, typer.Option(help="The --output of filter.", metavar="URL")] = None,
    output: Annotated[
        str | None, typer.Option(help="Folder or URL for the new tars.", metavar="URL")
    ] = None,
    config: ConfigFile = None,
    annotations: Annotated[
        str | None, typer.Option(help="The --output of score, if it has moved.", metavar="URL")
    ] = None,
    samples_per_shard: Annotated[
        int | None, typer.Option(help="Samples in a tar, at most; 10,000 by default.")
    ] = None,
    bytes_per_shard: Annotated[
        str | None, typer.Option(help="Size of a tar, about, such as 1GB.", metavar="SIZE")
    ] = None,
    annotate: Annotated[
        bool | None,
        typer.Option("--annotate/--no-annotate", help="Merge the scores into each .json."),
    ] = None,
    actors: Actors = None,
    cpus_per_actor: CpusPerActor = None,
    address: Address = None,
    max_attempts: Annotated[
        int | None, typer.Option(help="Tries of a tar before it is given up.")
    ] = None,
    shard_timeout: Annotated[float | None, typer.Option(help="Seconds for one tar.")] = None,
    overwrite: Annotated[
        bool | None, typer.Option("--overwrite", help="Replace what an earlier reshard wrote.")
    ] = None,
    force: Annotated[
        bool | None, typer.Option("--force", help="Go on beside another run in this output.")
    ] = None,
    dry_run: Annotated[
        bool | None, typer.Option("--dry-run", help="Check and plan everything, write nothing.")
    ] = None,
) -> int:
    """Write the clean corpus: new tars of the kept samples, byte for byte and in order."""
    flags = {key: value for key, value in context.params.items() if value is not None}
    flags.pop("config", None)
    from shardsift.cli.console import start_console
    from shardsift.config import load_settings
    from shardsift.reshard.settings import ReshardConfig

    settings = load_settings(ReshardConfig, config, flags)
    prepare_ray(settings.address)
    from shardsift.cli.verbs.reshard import run_reshard

    return run_reshard(settings, start_console())


def compact(
    annotations: Annotated[str, typer.Argument(help="The --output of a score run.")],
    output: Annotated[str, typer.Option(help="Folder or URL for few files.", metavar="URL")],
    bytes_per_file: Annotated[
        str, typer.Option(help="Size of a file, about.", metavar="SIZE")
    ] = "256MiB",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what an earlier compact wrote.")
    ] = False,
) -> int:
    """Put many small annotation files into few large ones; filter and stats read them as before."""
    from shardsift.cli.console import start_console
    from shardsift.cli.verbs.compact import run_compact
    from shardsift.config import parse_bytes

    size = parse_bytes("--bytes-per-file", bytes_per_file)
    return run_compact(annotations, output, size, start_console(), overwrite=overwrite)


def stats(
    annotations: Annotated[str, typer.Argument(help="The --output of a score run.")],
    json: Annotated[bool, typer.Option("--json", help="As JSON, on stdout.")] = False,
) -> int:
    """Counts, quantiles and errors of a run, from its metadata alone."""
    from shardsift.cli.console import start_console
    from shardsift.cli.verbs.stats import run_stats

    return run_stats(annotations, start_console(), as_json=json)
