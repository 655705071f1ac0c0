"""`shardsift stats`: a run in numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shardsift.cli.console import DONE, PlainConsole
from shardsift.cli.tables import Sheet
from shardsift.config.verb_settings import StatsConfig
from shardsift.outputs.manifest import QUANTILE_RANKS
from shardsift.outputs.totals import GroupTotals, Stats, read_stats
from shardsift.records import told_of
from shardsift.text import at_most

_MOST_SHARDS = 20

_Cells = Callable[[GroupTotals], list[str]]


def run(config: StatsConfig, console: PlainConsole) -> int:
    """Print the counts and quantiles of a run to stdout; return the exit code."""
    results = PlainConsole()
    stats = read_stats(config.annotations, config.beside, console.track)
    if config.as_json:
        results.document(stats.as_dict())
        return DONE
    results.tabulate(_sheet(stats, stats.total.name, ["shards", "rows", "scored"], _counts))
    if codes := sorted(stats.total.errors):
        errors = "rows without a score"
        results.tabulate(
            _sheet(stats, errors, codes, lambda group: [f"{group.errors[c]:,}" for c in codes])
        )
    ranks = [f"{rank:.0%}" for rank in QUANTILE_RANKS]
    results.tabulate(_sheet(stats, "quantiles of quality", ranks, _quantiles))
    if stats.total.spreads:
        results.tabulate(_columns(stats.total))
    if stats.total.scored:
        results.print(_exactness(stats.total.quality.rank_error))
    for line in told_of(stats.total.passed_over):
        results.print(line, soft_wrap=True)
    if not stats.is_finished:
        results.print("the run hasn't finished")
    for title, shards in (("failed", stats.failed), ("annotation missing", stats.missing)):
        for shard in shards[:_MOST_SHARDS]:
            results.print(f"{title}: {shard}", soft_wrap=True)
        if (more := len(shards) - _MOST_SHARDS) > 0:
            results.print(f"{title}: {more:,} more, see --json")
    return DONE


def _exactness(rank_error: float) -> str:
    if not rank_error:
        return "quantiles are exact"
    return f"ranks of quantiles are exact to {at_most(rank_error)}"


def _sheet(stats: Stats, title: str, headings: Sequence[str], cells: _Cells) -> Sheet:
    """Make a table with a row for each group, if there are several, and one for all."""
    groups = stats.groups if len(stats.groups) > 1 else []
    return Sheet(
        title=title,
        headings=["group", *headings],
        rows=[[group.name, *cells(group)] for group in groups],
        below=[["all", *cells(stats.total)]],
    )


def _columns(group: GroupTotals) -> Sheet:
    rows: list[list[str]] = []
    for name, spread in sorted(group.spreads.items()):
        values = spread.mean, spread.deviation
        rows.append([name, *(f"{v:.3f}" for v in (*values, spread.lowest, spread.highest))])
    headings = ["", "mean", "deviation", "lowest", "highest"]
    return Sheet(title="columns", headings=headings, rows=rows)


def _counts(group: GroupTotals) -> list[str]:
    return [f"{group.shards:,}", f"{group.rows:,}", f"{group.scored:,}"]


def _quantiles(group: GroupTotals) -> list[str]:
    values = group.quality.quantiles(QUANTILE_RANKS)
    return [f"{value:.3f}" for value in values] if values else [""] * len(QUANTILE_RANKS)
