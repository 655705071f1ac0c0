"""`shardsift evaluate`: scores against opinions."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from shardsift.cli.console import DONE, PlainConsole
from shardsift.cli.tables import Sheet
from shardsift.config.verb_settings import EvaluateConfig
from shardsift.evaluation.agreement import evaluate
from shardsift.evaluation.statistics import STATISTIC_NAMES, STATISTICS, Agreement
from shardsift.progress import Course
from shardsift.reporting.evaluation_page import render_evaluation
from shardsift.storage.lease import held
from shardsift.text import count


def run(config: EvaluateConfig, console: PlainConsole) -> int:
    """Evaluate, write all results below the output, and print the table; return the exit code."""
    with held(str(config.output)) as lease:
        course = Course("scoring", noun="images")
        with console.show_progress(course.snapshot):
            evaluation = evaluate(config, course)
        lease.guard()
        sheet = agreement_sheet("agreement with opinions", evaluation.agreements)
        told = {
            "fingerprint": evaluation.fingerprint,
            "config": config.scoring().model_dump(mode="json"),
            "images": len(evaluation.keys),
            "skipped": dict(evaluation.skipped),
            "higher_is_worse": config.higher_is_worse,
            "resamples": config.resamples,
            "methods": {name: asdict(found) for name, found in evaluation.agreements.items()},
        }
        output = config.output
        (output / "evaluation.json").write_text(json.dumps(told, indent=2))
        (output / "table.md").write_text(sheet.markdown())
        (output / "evaluation.html").write_text(render_evaluation(evaluation, config))
        columns = {"key": evaluation.keys, "opinion": evaluation.opinions}
        write_columns(columns | dict(evaluation.predictions), output / "predictions.csv")
    results = PlainConsole()
    if config.as_json:
        results.document(told)
    else:
        results.tabulate(sheet)
    for reason, number in evaluation.skipped.items():
        console.say(f"left out: {count(number, 'sample')}: {reason}")
    console.say(f"page, table and every prediction: {config.output}")
    return DONE


def agreement_sheet(title: str, agreements: Mapping[str, Agreement], caption: str = "") -> Sheet:
    """Lay out the statistics of each method, intervals below the values."""
    rows = [
        [
            name,
            f"{found.images:,}",
            *(getattr(found, key).told(4).replace(" (", "\n(") for key in STATISTICS),
        ]
        for name, found in agreements.items()
    ]
    headings = ["", "images", *STATISTIC_NAMES.values()]
    return Sheet(title=title, headings=headings, rows=rows, caption=caption or None)


def write_columns(columns: Mapping[str, Any], path: Path) -> None:
    """Write columns of equal length as CSV, floats to their last digit."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            cells = (repr(float(v)) if isinstance(v, np.floating) else _text(v) for v in row)
            writer.writerow(cells)


def _text(value: object) -> object:
    """Keep a spreadsheet from computing a text: an apostrophe goes before what looks so."""
    is_formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if is_formula else value
