"""Evaluate as the paper does, with ablations and figures: `python -m jobs.paper.experiment`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jobs.command import run_job
from jobs.paper.baselines import Brisque
from jobs.paper.config import ExperimentConfig
from jobs.paper.evaluation import Experiment, evaluate
from jobs.paper.figures import draw_figures
from jobs.paper.groups import GroupSpread
from jobs.paper.tables import as_json, as_markdown, sheets
from shardsift.cli.console import PlainConsole
from shardsift.cli.verbs.evaluate import write_columns
from shardsift.drawing import new_figure
from shardsift.evaluation.agreement import LAPLACIAN, laplacian_variance
from shardsift.evaluation.opinions import Baseline
from shardsift.progress import Course
from shardsift.storage.lease import held
from shardsift.text import count

BRISQUE = "BRISQUE"


def run(config: ExperimentConfig, console: PlainConsole) -> None:
    """Evaluate, write all results below the output, and print the tables. Raises UserError."""
    new_figure(1, 1)  # matplotlib missing is to be known now and not after the scoring
    baselines: dict[str, Baseline] = {LAPLACIAN: laplacian_variance}
    if config.brisque:
        baselines[BRISQUE] = Brisque()
    with held(str(config.output)) as lease:
        course = Course("scoring", noun="images")
        with console.show_progress(course.snapshot):
            experiment = evaluate(config.shards, config, baselines, course)
        lease.guard()
        _write(experiment, config.output)
    results = PlainConsole()
    if config.as_json:
        results.document(as_json(experiment))
    else:
        results.tabulate(*sheets(experiment))
    for reason, number in experiment.skipped.items():
        console.say(f"left out: {count(number, 'sample')}: {reason}")
    if isinstance(experiment.spread, str):
        console.say(f"no figure of groups: {experiment.spread}")
    console.say(f"tables, figures and every prediction: {config.output}")


def _write(experiment: Experiment, output: Path) -> None:
    (output / "evaluation.json").write_text(json.dumps(as_json(experiment), indent=2))
    (output / "table.md").write_text(as_markdown(experiment))
    has_groups = isinstance(experiment.spread, GroupSpread)
    columns: dict[str, Any] = {
        "key": experiment.keys,
        "opinion": experiment.opinions,
        **({"group": experiment.groups} if has_groups else {}),
        **experiment.predictions,
        "q_mag before Box-Cox": experiment.magnitude,
        **{f"{row.family}: {row.name}": row.predictions for row in experiment.ablations},
    }
    write_columns(columns, output / "predictions.csv")
    draw_figures(experiment, output)


if __name__ == "__main__":
    run_job("experiment", ExperimentConfig, run, "Evaluate as the paper's authors do.")
