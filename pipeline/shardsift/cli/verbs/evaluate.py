"""`shardsift evaluate`: scores against opinions."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from shardsift.cli.configs import EvaluateConfig
from shardsift.cli.console import PlainConsole
from shardsift.cli.evaluation_tables import as_json, as_markdown, sheets
from shardsift.cli.exit_codes import DONE
from shardsift.drawing import new_figure
from shardsift.evaluation.baselines import Brisque, laplacian_variance
from shardsift.evaluation.evaluate import Evaluation, evaluate
from shardsift.evaluation.figures import draw_figures
from shardsift.evaluation.groups import GroupSpread
from shardsift.evaluation.opinions import Baseline
from shardsift.progress import Course
from shardsift.storage.finding import expand
from shardsift.storage.lease import held
from shardsift.text import count

LAPLACIAN, BRISQUE = "Laplacian variance", "BRISQUE"


def run(config: EvaluateConfig, console: PlainConsole) -> int:
    """Evaluate, write all results below the output, and print the tables; return the exit code."""
    new_figure(1, 1)  # matplotlib missing is to be known now and not after the scoring
    urls = list(expand(config.shards))
    with held(str(config.output)) as lease:
        course = Course("scoring", noun="images")
        with console.watch(course.look):
            evaluation = evaluate(urls, config, _baselines(config), course)
        lease.guard()
        _write(evaluation, config.output)
    results = PlainConsole()
    if config.as_json:
        results.document(as_json(evaluation))
    else:
        results.tabulate(*sheets(evaluation))
    for reason, number in evaluation.skipped.items():
        console.say(f"left out: {count(number, 'sample')}: {reason}")
    if isinstance(evaluation.spread, str):
        console.say(f"no figure of groups: {evaluation.spread}")
    console.say(f"tables, figures and every prediction: {config.output}")
    return DONE


def _write(evaluation: Evaluation, output: Path) -> None:
    (output / "evaluation.json").write_text(json.dumps(as_json(evaluation), indent=2))
    (output / "table.md").write_text(as_markdown(evaluation))
    _write_predictions(evaluation, output / "predictions.csv")
    draw_figures(evaluation, output)


def _baselines(config: EvaluateConfig) -> dict[str, Baseline]:
    simple: dict[str, Baseline] = {LAPLACIAN: laplacian_variance}
    return simple | ({BRISQUE: Brisque()} if config.brisque else {})


def _write_predictions(evaluation: Evaluation, path: Path) -> None:
    """Write all that tables and figures are made of, so that anybody can compute them again."""
    columns: Mapping[str, Any] = {
        "key": evaluation.keys,
        "opinion": evaluation.opinions,
        **({"group": evaluation.groups} if isinstance(evaluation.spread, GroupSpread) else {}),
        **evaluation.predictions,
        "q_mag before Box-Cox": evaluation.magnitude,
        **{f"{row.family}: {row.name}": row.predictions for row in evaluation.ablations},
    }
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
