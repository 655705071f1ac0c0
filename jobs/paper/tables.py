"""An evaluation as tables for terminals, as Markdown for papers, and as JSON for machines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from jobs.paper.evaluation import Experiment
from jobs.paper.groups import GroupSpread
from jobs.paper.protocol import PAPER_SETS, PUBLISHED_FROM, PaperSet
from shardsift.cli.tables import Sheet
from shardsift.cli.verbs.evaluate import agreement_sheet
from shardsift.config import ScoreConfig
from shardsift.evaluation.agreement import OURS
from shardsift.evaluation.statistics import STATISTIC_NAMES, STATISTICS, Agreement
from shardsift.scoring.weights import with_default_weights
from shardsift.text import count

_UNKNOWN = "-"


def as_json(evaluation: Experiment) -> dict[str, Any]:
    """Return all figures, for machines."""
    config, spread = evaluation.config, evaluation.spread
    return {
        "fingerprint": evaluation.fingerprint,
        "config": config.scoring().model_dump(mode="json"),
        "iqa_set": config.iqa_set,
        "protocol": config.protocol,
        "images": len(evaluation.keys),
        "skipped": dict(evaluation.skipped),
        "higher_is_worse": config.higher_is_worse,
        "resamples": config.resamples,
        "methods": {name: asdict(found) for name, found in evaluation.agreements.items()},
        "as_authors": {name: asdict(found) for name, found in evaluation.as_authors.items()},
        "published_srcc": _published(evaluation)[0],
        "thirds": [asdict(third) for third in evaluation.thirds],
        "ablations": [
            {"family": row.family, "name": row.name, "agreement": asdict(row.agreement)}
            for row in evaluation.ablations
        ],
        "groups": _groups_as_json(spread) if isinstance(spread, GroupSpread) else None,
    }


def _groups_as_json(spread: GroupSpread) -> dict[str, Any]:
    return {
        "source": spread.source,
        "images": {name: len(values) for name, values in spread.before.items()},
        "wasserstein_before": spread.distance_before,
        "wasserstein_after": spread.distance_after,
        "change": asdict(spread.change),
    }


def sheets(evaluation: Experiment) -> list[Sheet]:
    """Lay out all tables."""
    title = f"agreement with opinions, {_what(evaluation)}"
    caption = _native_is_not_the_papers(evaluation)
    found = [agreement_sheet(title, evaluation.agreements, caption)]
    if paper_set := evaluation.config.paper_set:
        found.append(_as_authors(evaluation, paper_set))
    if evaluation.thirds:
        found.append(_thirds(evaluation))
    if evaluation.ablations:
        found.append(_ablations(evaluation))
    return found


def as_markdown(evaluation: Experiment) -> str:
    """Return the tables, for papers and READMEs."""
    return "\n".join(sheet.markdown() for sheet in sheets(evaluation))


def _as_authors(evaluation: Experiment, paper_set: PaperSet) -> Sheet:
    published, why = _published(evaluation)
    is_whole = len(evaluation.keys) == paper_set.images
    taken = "all" if is_whole else f"{len(evaluation.keys):,}"
    resized = f", resized to {paper_set.side}x{paper_set.side} (bicubic)" if paper_set.side else ""
    return Sheet(
        title=f"as the authors compute it, after their fit: {taken} of their {paper_set.images:,} "
        f"pictures{resized}",
        headings=["", "SRCC", "PLCC", "RMSE", "paper's SRCC"],
        rows=[
            [
                name,
                *(f"{value:.4f}" for value in (found.srcc, found.plcc, found.rmse)),
                f"{published:.4f}" if published is not None and name == OURS else _UNKNOWN,
            ]
            for name, found in evaluation.as_authors.items()
        ],
        caption=" ".join(said for said in (why, _unfitted(evaluation)) if said),
    )


def _unfitted(evaluation: Experiment) -> str | None:
    names = [name for name, found in evaluation.as_authors.items() if not found.has_fitted]
    if not names:
        return None
    return (
        f"Their fit didn't end for {', '.join(names)}, and their code goes on with its start then; "
        "the fit of the first table ended."
    )


def _published(evaluation: Experiment) -> tuple[float | None, str | None]:
    """Find the paper's figure for the same pictures and model, with a warning."""
    config, paper_set = evaluation.config, evaluation.config.paper_set
    if paper_set is None:
        return None, None
    if paper_set.srcc is None:
        return None, f"The paper has {config.iqa_set}, too; its figure is not known here."
    if with_default_weights(config.scoring()) != with_default_weights(ScoreConfig()):
        return None, "The paper's figure is of RN50 with OpenAI's weights and its own settings."
    if len(evaluation.keys) != paper_set.images:
        return None, f"The paper's figure is of all {paper_set.images:,} pictures."
    return paper_set.srcc, f"Look into the paper before citing: {PUBLISHED_FROM}."


def _native_is_not_the_papers(evaluation: Experiment) -> str:
    config = evaluation.config
    if config.protocol == "paper" or config.iqa_set not in PAPER_SETS:
        return ""
    return (
        "These are not to be held against the paper's figures, whose pictures and statistics are "
        "those of --protocol paper."
    )


def _thirds(evaluation: Experiment) -> Sheet:
    return Sheet(
        title="SRCC in each third of quality",
        headings=[
            "",
            *(f"{t.name}\n{t.lowest:.4g} to {t.highest:.4g}" for t in evaluation.thirds),
        ],
        rows=[
            [name, *(third.srcc[name].told(4) for third in evaluation.thirds)]
            for name in evaluation.thirds[0].srcc
        ],
    )


def _ablations(evaluation: Experiment) -> Sheet:
    return Sheet(
        title=f"one setting changed at a time, {_what(evaluation)}",
        headings=["", "", *STATISTIC_NAMES.values()],
        names=2,
        rows=[[row.family, row.name, *_cells(row.agreement)] for row in evaluation.ablations],
        left_out="in evaluation.json",
    )


def _what(evaluation: Experiment) -> str:
    config = evaluation.config
    name = f"{config.iqa_set}, " if config.iqa_set else ""
    return f"{name}{count(len(evaluation.keys), 'image')}, protocol {config.protocol}"


def _cells(agreement: Agreement) -> Iterator[str]:
    return (getattr(agreement, name).told(4) for name in STATISTICS)
