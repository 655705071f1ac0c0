"""Evaluate on the paper's sets as its authors do: `python -m jobs.paper DOWNLOADS --output FOLDER`.

Every existing download is converted into shards and evaluated, with all ablations and figures; the
last table has the paper's figures beside ours.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jobs.command import run_job
from jobs.paper import experiment, iqa_shards
from jobs.paper.config import ExperimentConfig, IqaShardsConfig, PaperConfig
from jobs.paper.protocol import PAPER_SETS, PUBLISHED_FROM
from jobs.paper.sets import IQA_SETS
from shardsift.cli.console import PlainConsole
from shardsift.cli.tables import Sheet
from shardsift.errors import InputError


def evaluate_sets(config: PaperConfig, console: PlainConsole) -> None:
    """Evaluate on every downloaded set, and write the table. Raises UserError."""
    names = [name for name in PAPER_SETS if (config.downloads / name).is_dir()]
    if not names:
        raise InputError(
            f"{config.downloads}: none of its folders is called {', '.join(PAPER_SETS)}; unpack "
            "each download into a folder of its set's name"
        )
    for name in names:
        shards = config.output / "shards" / name
        iqa_shards.run(
            IqaShardsConfig(name=name, folder=config.downloads / name, output=str(shards)), console
        )
        experiment.run(_experiment(config, name, shards), console)
    rows = [_row(config, name) for name in names]
    sheet = Sheet(
        title="MA-CLIP as the authors evaluate it",
        headings=["", "pictures", "of theirs", "SRCC", "PLCC", "RMSE", "paper's SRCC"],
        rows=rows,
        caption=f"Look into the paper before citing: {PUBLISHED_FROM}.",
    )
    (config.output / "table.md").write_text(sheet.markdown())
    PlainConsole().tabulate(sheet)


def _experiment(config: PaperConfig, name: str, shards: Path) -> ExperimentConfig:
    settings = config.model_dump(exclude={"downloads", "output"})
    return ExperimentConfig.model_validate(
        settings
        | {
            "shards": (str(shards),),
            "output": config.output / name,
            "iqa_set": name,
            "protocol": "paper",
            "higher_is_worse": IQA_SETS[name].higher_is_worse,
        }
    )


def _row(config: PaperConfig, name: str) -> list[str]:
    found: dict[str, Any] = json.loads((config.output / name / "evaluation.json").read_text())
    ours, published = found["as_authors"]["MA-CLIP"], found["published_srcc"]
    numbers = (f"{ours[statistic]:.4f}" for statistic in ("srcc", "plcc", "rmse"))
    told = "-" if published is None else f"{published:.4f}"
    return [name, f"{found['images']:,}", f"{PAPER_SETS[name].images:,}", *numbers, told]


if __name__ == "__main__":
    run_job("paper", PaperConfig, evaluate_sets, "Evaluate on the paper's sets as its authors do.")
