"""`shardsift filter`: keep the good ones."""

from __future__ import annotations

from rich.table import Table

from shardsift.cli.console import PlainConsole
from shardsift.cli.exit_codes import DONE
from shardsift.curation.curate import FilterResult, curate
from shardsift.curation.filter_config import QUALITY, FilterConfig
from shardsift.reshard.reshard_config import ReshardConfig

_MOST_BUCKETS = 40


def run(config: FilterConfig, console: PlainConsole) -> int:
    """Keep what is asked for, and tell what became of all rows; return the exit code.

    The counts go to stdout, progress to `console`.
    """
    results = PlainConsole()
    outcome = curate(config, console.track)
    results.print(_table(config, outcome))
    if outcome.threshold.buckets:
        results.print(_buckets_table(config, outcome))
    for line in _remarks(config, outcome):
        results.print(line, soft_wrap=True)
    if "shards" not in config.emit or config.output is None or config.dry_run:
        return DONE
    from shardsift.cli.verbs import reshard  # and Ray, which no other filter needs

    output = f"{config.output.rstrip('/')}/shards"
    shards = ReshardConfig(keep=config.output, output=output, overwrite=config.overwrite)
    return reshard.run(shards, console)


def _table(config: FilterConfig, outcome: FilterResult) -> Table:
    table = Table(title=config.annotations, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(justify="right")
    rows = outcome.survey.rows
    counts = outcome.counts
    lines: dict[str, int] = {"rows": rows}
    if counts:
        lines["kept"] = counts.kept
        for code, number in sorted(counts.kept_errors.items()):
            lines[f"kept without a score: {code}"] = number
        lines["below the threshold"] = counts.below
        lines["as good as it, and one too many"] = counts.tied
        if config.unique:
            lines[f"duplicates of a better one, by {config.unique}"] = counts.duplicates
        if config.by != QUALITY:
            lines[f"without a value of {config.by}"] = counts.valueless
        lines["excluded by where"] = counts.excluded
        for code, number in sorted(counts.errors.items()):
            lines[f"dropped for its error: {code}"] = number
    for name, number in lines.items():
        table.add_row(name, f"{number:,}", f"{number / rows:.2%}" if rows else "")
    table.add_section()
    shards = {
        "shards": len(outcome.survey.parts),
        "given up when they were scored": len(outcome.survey.failed),
        "whose annotation is missing": len(outcome.survey.missing),
    }
    for name, number in shards.items():
        table.add_row(name, f"{number:,}", "")
    return table


def _buckets_table(config: FilterConfig, outcome: FilterResult) -> Table:
    largest = sorted(outcome.threshold.buckets, key=lambda bucket: -bucket.rows)[:_MOST_BUCKETS]
    more = len(outcome.threshold.buckets) - len(largest)
    caption = f"and {more:,} smaller ones, see _summary.json" if more else None
    table = Table(title=f"per {config.per or ''}", caption=caption)
    for name in ("bucket", "scored", "kept", "threshold"):
        table.add_column(name, justify="left" if name == "bucket" else "right")
    for bucket in largest:
        threshold = "" if bucket.threshold is None else f"{bucket.threshold:.6g}"
        table.add_row(bucket.name, f"{bucket.rows:,}", f"{bucket.kept:,}", threshold)
    return table


def _remarks(config: FilterConfig, outcome: FilterResult) -> list[str]:
    lines: list[str] = []
    if outcome.threshold.value is not None:
        by = f"--by {config.by} --min" if config.by != QUALITY else "--min-quality"
        lines.append(f"threshold: {by} {outcome.threshold.value!r}")
    if (error := outcome.threshold.rank_error) is not None:
        lines.append(f"approximate: the threshold's rank is off by {error:.3%} at most")
    if not outcome.survey.is_finished:
        lines.append("no run has come to its end there: later shards are left out, uncounted")
    if outcome.uids:
        uids = outcome.uids
        lines.append(
            f"uids: {uids.written:,} written, {uids.repeated:,} occur twice, "
            f"{uids.without_uid:,} kept samples have none and are left out"
        )
    if config.output and not config.dry_run:
        lines.append(f"kept: {config.output}")
    return lines
