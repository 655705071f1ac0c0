"""`shardsift compare`: two runs over the same shards."""

from __future__ import annotations

from dataclasses import asdict

from shardsift.cli.console import DONE, PlainConsole
from shardsift.cli.tables import Sheet
from shardsift.config.verbs import CompareConfig
from shardsift.documents import as_json
from shardsift.report.compare import Comparison, Pairs, compare_pairs, pair_up
from shardsift.report.comparison_page import ComparisonPage
from shardsift.storage.files import absolute, commit, join

PAGE = "comparison.html"


def run(config: CompareConfig, console: PlainConsole) -> int:
    """Compare, print, and write JSON and a page below the output; return the exit code."""
    run_a, run_b, output = config.run_a, config.run_b, config.output
    with console.busy("reading annotations"):
        pairs = pair_up(run_a, run_b, config.beside)
        comparison = compare_pairs(pairs, config.keep_top)
    out = PlainConsole()
    content = {"a": run_a, "b": run_b} | asdict(comparison)
    if config.as_json:
        out.document(content)
    else:
        _tell(comparison, config, out)
    if output is not None:
        location = join(output, "comparison.json")
        commit(location, as_json(content))
        console.say(f"comparison: {location}")
        _write_page(pairs, comparison, config, output, console)
    return DONE


def _write_page(
    pairs: Pairs, comparison: Comparison, config: CompareConfig, output: str, console: PlainConsole
) -> None:
    record = pairs.folders[0].record
    root = absolute(config.shards) if config.shards is not None else record and record.place()
    page = ComparisonPage(pairs, comparison)
    page.fetch(config.thumbnails, root, console.track)
    html = page.render(config.keep_top).encode()
    location = join(output, PAGE)
    commit(location, html)
    if page.problem is not None:
        console.say(page.problem)
    console.say(f"page: {location} ({len(html) / 1e6:.1f} MB)")
    if config.open:
        console.open_page(absolute(location))


def _tell(c: Comparison, config: CompareConfig, out: PlainConsole) -> None:
    out.print(f"A {config.run_a}\nB {config.run_b}", soft_wrap=True)
    for key, (a, b) in c.settings.items():
        out.print(f"{key}: {a} in A, {b} in B", soft_wrap=True)
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
    headings = ["each keeps its best", "from A", "from B", "kept by both", "Jaccard"]
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
