"""`shardsift stats`: a run in numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from rich.table import Table

from shardsift.annotations.manifest import QUANTILE_RANKS
from shardsift.annotations.stats import Group, Stats, read_stats
from shardsift.cli.configs import StatsConfig
from shardsift.cli.console import PlainConsole
from shardsift.cli.exit_codes import DONE

_Cells = Callable[[Group], list[str]]


def run(config: StatsConfig, console: PlainConsole) -> int:
    """Tell what a folder of annotations holds; return the exit code. Numbers go to stdout."""
    results = PlainConsole()
    stats = read_stats(config.annotations, console.track)
    if config.as_json:
        results.print(json.dumps(stats.as_dict(), indent=2), soft_wrap=True)
        return DONE
    results.print(_table(stats, stats.total.name, ["shards", "rows", "scored"], _counts))
    if codes := sorted(stats.total.errors):
        errors = "rows without a score"
        results.print(_table(stats, errors, codes, lambda g: [f"{g.errors[c]:,}" for c in codes]))
    ranks = [f"{rank:.0%}" for rank in QUANTILE_RANKS]
    results.print(_table(stats, "quantiles of quality", ranks, _quantiles))
    if stats.total.attributes:
        results.print(_attributes(stats.total))
    error = stats.total.quality.rank_error
    results.print(f"quantiles are those of ranks that are off by {error:.2%} at most")
    if not stats.is_finished:
        results.print("no run has come to its end here")
    for title, shards in (("given up", stats.failed), ("annotation missing", stats.missing)):
        for shard in shards:
            results.print(f"{title}: {shard}", soft_wrap=True)
    return DONE


def _table(stats: Stats, title: str, columns: Sequence[str], cells: _Cells) -> Table:
    """Make a table with a row for each prefix, if there are several, and one for all."""
    table = Table(title=title)
    table.add_column("prefix")
    for name in columns:
        table.add_column(name, justify="right")
    for group in stats.prefixes if len(stats.prefixes) > 1 else []:
        table.add_row(group.name, *cells(group))
    table.add_section()
    table.add_row("all", *cells(stats.total))
    return table


def _attributes(group: Group) -> Table:
    table = Table(title="attributes")
    for name in ("", "mean", "deviation", "lowest", "highest"):
        table.add_column(name, justify="right" if name else "left")
    for name, spread in sorted(group.attributes.items()):
        values = spread.mean(group.scored), spread.deviation(group.scored)
        table.add_row(name, *(f"{v:.3f}" for v in (*values, spread.lowest, spread.highest)))
    return table


def _counts(group: Group) -> list[str]:
    return [f"{group.shards:,}", f"{group.rows:,}", f"{group.scored:,}"]


def _quantiles(group: Group) -> list[str]:
    values = group.quality.quantiles(QUANTILE_RANKS)
    return [f"{value:.3f}" for value in values] if values else [""] * len(QUANTILE_RANKS)
