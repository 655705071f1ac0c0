"""`shardsift filter`: keep the good ones."""

from __future__ import annotations

from shlex import quote
from typing import Any

from shardsift.cli.console import PlainConsole
from shardsift.cli.exit_codes import DONE
from shardsift.cli.tables import Sheet
from shardsift.commands import beside
from shardsift.config.filter import QUALITY, FilterConfig
from shardsift.filter.query import FilterResult, curate, summarise
from shardsift.progress import at_most
from shardsift.records import PassedOver, told_of
from shardsift.reshard.reshard_config import ReshardConfig


def run(config: FilterConfig, console: PlainConsole) -> int:
    """Keep what is asked for, and tell what became of all rows; return the exit code.

    The counts go to stdout, progress to `console`.
    """
    results = PlainConsole()
    outcome = curate(config, console.track)
    if config.as_json:
        results.document(_as_dict(config, outcome))
    else:
        results.tabulate(_counts(config, outcome))
        if outcome.threshold.buckets:
            results.tabulate(_buckets(config, outcome))
        for line in _remarks(config, outcome):
            results.print(line, soft_wrap=True)
    if config.output is None or config.dry_run:
        return DONE
    if "shards" not in config.emit:
        if "keep-list" in config.emit:
            into = beside(config.output, "shards")
            console.suggest("reshard", "--keep", config.output, "--output", into)
        return DONE
    from shardsift.cli.verbs import reshard  # and Ray, which no other filter needs

    output = f"{config.output.rstrip('/')}/shards"
    shards = ReshardConfig(keep=config.output, output=output, overwrite=config.overwrite)
    return reshard.run(shards, console)


def _as_dict(config: FilterConfig, outcome: FilterResult) -> dict[str, Any]:
    """Return what `_summary.json` holds, or, if rows weren't read, the threshold."""
    if outcome.counts:
        return summarise(config, outcome).model_dump(mode="json")
    threshold = outcome.threshold
    return {"threshold": threshold.value, "rank_error": threshold.rank_error}


def _counts(config: FilterConfig, outcome: FilterResult) -> Sheet:
    rows = outcome.survey.rows
    counts = outcome.counts
    lines: dict[str, int] = {"rows": rows}
    if counts:
        lines["kept"] = counts.kept
        for code, number in sorted(counts.kept_errors.items()):
            lines[f"kept without a score: {code}"] = number
        lines["below the threshold"] = counts.below
        lines["at the threshold, and left out (ties)"] = counts.tied
        if config.unique:
            lines[f"duplicates of a better one, by {config.unique}"] = counts.duplicates
        if config.by != QUALITY:
            lines[f"without a value of {config.by}"] = counts.valueless
        lines["excluded by where"] = counts.excluded
        if config.exclude:
            lines["excluded by name"] = counts.listed
        for code, number in sorted(counts.errors.items()):
            lines[f"dropped for its error: {code}"] = number
    if further := outcome.survey.passed_over[PassedOver.FURTHER_IMAGES]:
        lines["images beside these, not scored: they share a key"] = further
    shares = {name: f"{number / rows:.2%}" if rows else "" for name, number in lines.items()}
    shards = {
        "shards": len(outcome.survey.parts),
        "given up when they were scored": len(outcome.survey.failed),
        "whose annotation is missing": len(outcome.survey.missing),
    }
    return Sheet(
        title=config.annotations,
        rows=[[name, f"{number:,}", shares[name]] for name, number in lines.items()],
        below=[[name, f"{number:,}", ""] for name, number in shards.items()],
    )


def _buckets(config: FilterConfig, outcome: FilterResult) -> Sheet:
    largest = sorted(outcome.threshold.buckets, key=lambda bucket: -bucket.rows)
    thresholds = [
        "" if bucket.threshold is None else f"{bucket.threshold:.6g}" for bucket in largest
    ]
    return Sheet(
        title=f"per {config.per or ''}",
        headings=["bucket", "scored", "kept", "threshold"],
        rows=[
            [bucket.name, f"{bucket.rows:,}", f"{bucket.kept:,}", threshold]
            for bucket, threshold in zip(largest, thresholds, strict=True)
        ],
        left_out="smaller ones, in _summary.json",
    )


def _remarks(config: FilterConfig, outcome: FilterResult) -> list[str]:
    lines: list[str] = []
    if outcome.threshold.value is not None:
        by = f"--by {quote(config.by)} --min" if config.by != QUALITY else "--min-quality"
        lines.append(f"threshold: {by} {outcome.threshold.value!r}")
    if (error := outcome.threshold.rank_error) is not None:
        exactness = f"is off by {at_most(error)} at most" if error else "is exact"
        lines.append(f"approximate: the threshold's rank {exactness}; ties are all kept")
    if not outcome.survey.is_finished:
        lines.append("no run has come to its end there: later shards are left out, uncounted")
    lines += told_of(outcome.survey.passed_over)
    if outcome.uids:
        uids = outcome.uids
        lines.append(
            f"uids: {uids.written:,} written, {uids.repeated:,} occur twice, "
            f"{uids.without_uid:,} kept samples have none and are left out"
        )
    for match in outcome.matches:
        found = f"{match.rows:,} of {outcome.survey.rows:,} rows found by {match.on}"
        theirs = f"{match.table_rows_found:,} of its {match.table_rows:,} rows"
        lines.append(f"{match.table}: {found}, {theirs}")
    if config.random is not None:
        lines.append(f"ranked by chance: --random {config.random}")
    if config.output and not config.dry_run:
        lines.append(f"kept: {config.output}")
    return lines
