"""`shardsift compare`: two runs over the same shards."""

from __future__ import annotations

from shardsift.cli.console import DONE, PlainConsole
from shardsift.cli.tables import Sheet
from shardsift.cli.verbs.report import tell_of_page
from shardsift.config.verb_settings import CompareConfig
from shardsift.reporting.comparison import Comparison
from shardsift.reporting.written_pages import compare_runs


def run(config: CompareConfig, console: PlainConsole) -> int:
    """Compare, print, and write JSON and a page below the output; return the exit code."""
    result = compare_runs(config, console)
    out = PlainConsole()
    if config.as_json:
        out.document(result.as_dict())
    else:
        _tell(result.comparison, config, out)
    if result.page:
        console.say(f"comparison: {result.json_url}")
        tell_of_page("page", result.page, console, opens=config.open)
    return DONE


def _tell(c: Comparison, config: CompareConfig, out: PlainConsole) -> None:
    out.print(f"A {config.run_a}\nB {config.run_b}", soft_wrap=True)
    for key, (a, b) in c.settings.items():
        out.print(f"{key}: {a} in A, {b} in B", soft_wrap=True)
    rows = {
        "samples in both": f"{c.samples:,}",
        "scored in both": f"{c.scored:,}",
        "scored only in A, only in B": f"{c.only_a:,}, {c.only_b:,}",
        "shards only in A, only in B": f"{c.shards_only_a:,}, {c.shards_only_b:,}",
        "B - A, mean": f"{c.mean:+.6f}",
        "|B - A|, mean": f"{c.mean_absolute:.6f}",
        "|B - A|, largest": f"{c.max_absolute:.6f}",
        "rank correlation": f"{c.srcc:.4f}",
        "linear correlation": f"{c.plcc:.4f}",
    }
    out.tabulate(
        Sheet(title="quality", rows=list(rows.items())), _overlaps(c), _largest(c), _attributes(c)
    )


def _overlaps(c: Comparison) -> Sheet:
    rows = [
        [
            *(f"{o.keep_top:.0%}", f"{o.min_quality_a:.4f}", f"{o.min_quality_b:.4f}"),
            *(f"{o.of_kept:.1%}", f"{o.jaccard:.3f}"),
        ]
        for o in c.overlaps
    ]
    headings = ["share that each keeps", "from A", "from B", "kept by both", "Jaccard"]
    return Sheet(title="what both keep", headings=headings, rows=rows)


def _largest(c: Comparison) -> Sheet:
    rows = [[d.shard, d.key, f"{d.a:.4f}", f"{d.b:.4f}"] for d in c.largest]
    headings = ["shard", "key", "A", "B"]
    return Sheet(title="largest differences", headings=headings, names=2, rows=rows)


def _attributes(c: Comparison) -> Sheet:
    rows: list[list[str]] = []
    for name, found in c.attributes.items():
        gaps = f"{found.mean:+.4f}", f"{found.mean_absolute:.4f}", f"{found.max_absolute:.4f}"
        rows.append([name, *gaps, f"{found.srcc:.4f}"])
    headings = ["", "B - A, mean", "|B - A|, mean", "largest", "rank correlation"]
    return Sheet(title="attributes", headings=headings, rows=rows)
