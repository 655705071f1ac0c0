"""`shardsift evaluate`: scores against opinions."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from shardsift.cli.configs import EvaluateConfig
from shardsift.cli.console import PlainConsole
from shardsift.cli.exit_codes import DONE
from shardsift.cli.tables import Sheet
from shardsift.drawing import new_figure
from shardsift.evaluation.baselines import Brisque, laplacian_variance
from shardsift.evaluation.evaluate import Evaluation, evaluate
from shardsift.evaluation.figures import draw_figures
from shardsift.evaluation.opinions import Baseline
from shardsift.evaluation.published import PAPER_SETS, PUBLISHED_SRCC
from shardsift.evaluation.statistics import STATISTICS, Agreement, Estimate
from shardsift.progress import Course, count
from shardsift.storage.finding import expand
from shardsift.storage.lease import held

LAPLACIAN, BRISQUE = "Laplacian variance", "BRISQUE"


def run(config: EvaluateConfig, console: PlainConsole) -> int:
    """Evaluate, write all results below the output, and print the table; return the exit code."""
    new_figure(1, 1)  # matplotlib missing is to be known now and not after the scoring
    urls = list(expand(config.shards))
    with held(str(config.output)):
        course = Course("scoring", noun="images")
        with console.watch(course.look):
            evaluation = evaluate(urls, config, _baselines(config), course)
        _write(evaluation, config)
    results = PlainConsole()
    if config.as_json:
        results.document(as_json(evaluation, config.iqa_set))
    else:
        results.tabulate(_agreement(evaluation, config.iqa_set), _ablations(evaluation))
    for reason, number in evaluation.skipped.items():
        console.say(f"left out: {count(number, 'sample')}: {reason}")
    console.say(f"table, figures and every prediction: {config.output}")
    return DONE


def _write(evaluation: Evaluation, config: EvaluateConfig) -> None:
    output, iqa_set = config.output, config.iqa_set
    (output / "evaluation.json").write_text(json.dumps(as_json(evaluation, iqa_set), indent=2))
    (output / "table.md").write_text(as_markdown(evaluation, iqa_set))
    _write_predictions(evaluation, output / "predictions.csv")
    draw_figures(evaluation, output)


def _baselines(config: EvaluateConfig) -> dict[str, Baseline]:
    simple: dict[str, Baseline] = {LAPLACIAN: laplacian_variance}
    return simple | ({BRISQUE: Brisque()} if config.brisque else {})


def as_json(evaluation: Evaluation, iqa_set: str | None) -> dict[str, Any]:
    """Return all figures, for machines."""
    config, spread = evaluation.config, evaluation.spread
    return {
        "fingerprint": evaluation.fingerprint,
        "config": config.scoring().model_dump(mode="json"),
        "images": len(evaluation.keys),
        "skipped": dict(evaluation.skipped),
        "higher_is_worse": config.higher_is_worse,
        "resamples": config.resamples,
        "methods": {name: asdict(found) for name, found in evaluation.agreements.items()},
        "ablations": [asdict(row) for row in evaluation.ablations],
        "published_srcc": PUBLISHED_SRCC.get(iqa_set or ""),
        "groups": spread
        and {
            "images": {name: len(values) for name, values in spread.before.items()},
            "wasserstein_before": spread.distance_before,
            "wasserstein_after": spread.distance_after,
        },
    }


def as_markdown(evaluation: Evaluation, iqa_set: str | None) -> str:
    """Return the tables, for papers and READMEs."""
    head = "| | images | " + " | ".join(_HEADINGS.values()) + " |\n"
    rule = "|---" * (len(_HEADINGS) + 2) + "|\n"
    lines = [head, rule]
    for name, agreement in evaluation.agreements.items():
        lines.append(f"| {name} | {agreement.images} | {' | '.join(_cells(agreement))} |\n")
    if (published := _published(iqa_set)) is not None:
        lines.append(f"\n{published}\n")
    if evaluation.ablations:
        lines += ["\n| | SRCC | KRCC | PLCC | RMSE | raw PLCC |\n", "|---" * 6 + "|\n"]
        for row in evaluation.ablations:
            lines.append(f"| {row.family}: {row.name} | {' | '.join(_cells(row.agreement))} |\n")
    return "".join(lines)


_HEADINGS = dict(zip(STATISTICS, ("SRCC", "KRCC", "PLCC", "RMSE", "raw PLCC"), strict=True))


def _cells(agreement: Agreement) -> Iterator[str]:
    return (_cell(getattr(agreement, name)) for name in STATISTICS)


def _cell(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.4f}"
    return f"{estimate.value:.4f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _published(iqa_set: str | None) -> str | None:
    if iqa_set in PUBLISHED_SRCC:
        return f"The paper's SRCC on {iqa_set}, with RN50: {PUBLISHED_SRCC[iqa_set]:.4f}"
    if iqa_set in PAPER_SETS:
        return f"The paper has {iqa_set}, too; its figure is not known here."
    return None


def _agreement(evaluation: Evaluation, iqa_set: str | None) -> Sheet:
    images = count(len(evaluation.keys), "image")
    return Sheet(
        title=f"agreement with opinions, {images}",
        headings=["", *_HEADINGS.values()],
        rows=[
            [name, *(cell.replace(" (", "\n(") for cell in _cells(agreement))]
            for name, agreement in evaluation.agreements.items()
        ],
        caption=_published(iqa_set),
    )


def _ablations(evaluation: Evaluation) -> Sheet:
    return Sheet(
        title="one setting changed at a time",
        headings=["", "", *_HEADINGS.values()],
        names=2,
        rows=[[row.family, row.name, *_cells(row.agreement)] for row in evaluation.ablations],
        left_out="in evaluation.json",
    )


def _write_predictions(evaluation: Evaluation, path: Path) -> None:
    """Write every image's opinion and predictions, so that anybody can compute the table again."""
    columns: Mapping[str, Any] = {
        "key": evaluation.keys,
        "opinion": evaluation.opinions,
        **evaluation.predictions,
    }
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow([repr(float(v)) if isinstance(v, np.floating) else v for v in row])
