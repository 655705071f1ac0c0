"""`shardsift filter`: keep the good ones."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import join, quote

from shardsift.cli.console import DONE, PlainConsole
from shardsift.cli.tables import Sheet
from shardsift.config.filter_settings import QUALITY, FilterConfig
from shardsift.filtering.kept_folder import KEPT, GroupCounts
from shardsift.filtering.query import FilterResult, curate
from shardsift.records import PassedOver, told_of
from shardsift.text import beside


def run(config: FilterConfig, console: PlainConsole) -> int:
    """Filter, and print the counts of all rows; return the exit code.

    The counts go to stdout, progress to `console`.
    """
    results = PlainConsole()
    outcome = curate(config, console.track)
    if config.as_json:
        results.document(outcome.summary.model_dump(mode="json"))
    else:
        results.tabulate(_counts(config, outcome))
        if outcome.summary.groups:
            results.tabulate(_groups(config, outcome.summary.groups))
        for line in _remarks(config, outcome):
            results.print(line, soft_wrap=True)
    if config.output is None or config.dry_run:
        return DONE
    if "paths" in config.emit:
        lists = f"--files-from={config.output}/{KEPT}"
        words = ["rsync", "-a", *(["--from0"] if config.null else []), lists]
        console.say(f"copy them: {join([*words, outcome.annotations.root, 'FOLDER'])}")
    elif "keep-list" in config.emit:
        into = beside(config.output, "shards")
        console.suggest("reshard", "--keep", config.output, "--output", into)
    return DONE


def _counts(config: FilterConfig, outcome: FilterResult) -> Sheet:
    rows = outcome.annotations.rows
    lines: dict[str, int] = {"rows": rows}
    told = outcome.summary
    lines["kept"] = told.kept - sum(told.kept_without_score.values())
    for code, number in told.kept_without_score.items():
        lines[f"kept without a score: {code}"] = number
    lines["below the threshold"] = told.below_threshold
    lines["at the threshold, dropped (ties)"] = told.tied_at_threshold
    if config.unique:
        lines[f"duplicates by {config.unique}"] = told.duplicates
    if config.by != QUALITY:
        lines[f"without a value of {config.by}"] = told.without_value
    lines["excluded by where"] = told.excluded_by_where
    if config.exclude:
        lines["excluded by name"] = told.excluded_by_list
    for code, number in told.errors.items():
        lines[f"dropped for its error: {code}"] = number
    if further := outcome.annotations.passed_over[PassedOver.FURTHER_IMAGES]:
        lines["further images of a key, not scored"] = further
    shares = {name: f"{number / rows:.2%}" if rows else "" for name, number in lines.items()}
    shards = {
        "shards": len(outcome.annotations.shards),
        "failed when scored": len(outcome.annotations.failed),
        "without annotation": len(outcome.annotations.missing),
    }
    return Sheet(
        title=config.annotations,
        rows=[[name, f"{number:,}", shares[name]] for name, number in lines.items()],
        below=[[name, f"{number:,}", ""] for name, number in shards.items()],
    )


def _groups(config: FilterConfig, groups: Sequence[GroupCounts]) -> Sheet:
    largest = sorted(groups, key=lambda group: -group.rows)
    thresholds = ["" if group.threshold is None else f"{group.threshold:.6g}" for group in largest]
    return Sheet(
        title=f"per {config.per or ''}",
        headings=["group", "scored", "kept", "threshold"],
        rows=[
            [group.name, f"{group.rows:,}", f"{group.kept:,}", threshold]
            for group, threshold in zip(largest, thresholds, strict=True)
        ],
        left_out="smaller groups, see _summary.json",
    )


def _remarks(config: FilterConfig, outcome: FilterResult) -> list[str]:
    lines: list[str] = []
    if outcome.threshold is not None:
        by = f"--by {quote(config.by)} --min" if config.by != QUALITY else "--min-quality"
        lines.append(f"threshold: {by} {outcome.threshold!r}")
    if not outcome.annotations.is_finished:
        lines.append("the run hasn't finished: later shards are neither filtered nor counted")
    lines += told_of(outcome.annotations.passed_over)
    if uids := outcome.summary.uids:
        lines.append(
            f"uids: {uids.written:,} written, {uids.repeated:,} occur twice, "
            f"{uids.without_uid:,} kept samples have none, and are left out"
        )
    for match in outcome.summary.joined:
        found = f"{match.rows:,} of {outcome.annotations.rows:,} rows found by {match.on}"
        theirs = f"{match.table_rows_found:,} of its {match.table_rows:,} rows"
        lines.append(f"{match.table}: {found}, {theirs}")
    if config.random is not None:
        lines.append(f"ranked by chance: --random {config.random}")
    if config.output and not config.dry_run:
        lines.append(f"kept: {config.output}")
    return lines
