"""`shardsift compare`: two runs over the same shards."""

from __future__ import annotations

from dataclasses import asdict

from rich.table import Table

from shardsift.cli.configs import CompareConfig
from shardsift.cli.console import PlainConsole
from shardsift.cli.exit_codes import DONE
from shardsift.documents import as_json
from shardsift.report.compare import Comparison, compare
from shardsift.storage.files import commit, join


def run(config: CompareConfig, console: PlainConsole) -> int:
    """Compare, print, and write `comparison.json` below the output; return the exit code."""
    run_a, run_b, output = config.run_a, config.run_b, config.output
    with console.status("reading annotations"):
        comparison = compare(run_a, run_b, config.keep_top)
    out = PlainConsole()
    out.print(f"A {run_a}\nB {run_b}", soft_wrap=True)
    for key, (a, b) in comparison.settings.items():
        out.print(f"{key}: {a} in A, {b} in B", soft_wrap=True)
    out.print(_scores(comparison), _overlaps(comparison), _largest(comparison))
    if comparison.attributes:
        out.print(_attributes(comparison))
    if output is not None:
        location = join(output, "comparison.json")
        commit(location, as_json({"a": run_a, "b": run_b} | asdict(comparison)))
        console.print(f"comparison: {location}", soft_wrap=True)
    return DONE


def _scores(c: Comparison) -> Table:
    rows = {
        "samples in both": f"{c.samples:,}",
        "scored in both": f"{c.scored:,}",
        "scored in A alone, in B alone": f"{c.only_a:,}, {c.only_b:,}",
        "shards in A alone, in B alone": f"{c.shards_only_a:,}, {c.shards_only_b:,}",
        "B - A, mean": f"{c.mean:+.6f}",
        "|B - A|, mean": f"{c.mean_absolute:.6f}",
        "|B - A|, largest": f"{c.max_absolute:.6f}",
        "rank correlation": f"{c.srcc:.4f}",
        "linear correlation": f"{c.plcc:.4f}",
    }
    table = Table(title="quality", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _overlaps(c: Comparison) -> Table:
    table = Table(title="what both keep")
    for heading in ("each keeps its best", "from A", "from B", "kept by both", "Jaccard"):
        table.add_column(heading, justify="right")
    for o in c.overlaps:
        least = f"{o.min_quality_a:.4f}", f"{o.min_quality_b:.4f}"
        table.add_row(f"{o.keep_top:.0%}", *least, f"{o.of_kept:.1%}", f"{o.jaccard:.3f}")
    return table


def _largest(c: Comparison) -> Table:
    table = Table(title="largest differences")
    for heading in ("shard", "key", "A", "B"):
        table.add_column(heading)
    for found in c.largest:
        table.add_row(found.shard, found.key, f"{found.a:.4f}", f"{found.b:.4f}")
    return table


def _attributes(c: Comparison) -> Table:
    table = Table(title="attributes")
    for heading in ("", "B - A, mean", "|B - A|, mean", "largest", "rank correlation"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, found in c.attributes.items():
        gaps = f"{found.mean:+.4f}", f"{found.mean_absolute:.4f}", f"{found.max_absolute:.4f}"
        table.add_row(name, *gaps, f"{found.srcc:.4f}")
    return table
