"""Train the compact CLIP: `python -m jobs.training.train --shards SHARDS --output DIR`.

The same command resumes after a stop. `DIR/model` holds the model to ship.

    0 done   2 a mistake to mend   130 interrupted
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from jobs.training.photos import load_photos
from jobs.training.trainer import MODEL, Progress, TrainConfig, Trainer
from shardsift.cli.console import INTERRUPTED, USER_ERROR, start_console
from shardsift.config import load_config
from shardsift.errors import ShardsiftError

_LOG_EVERY = 50


def train(
    shards: Annotated[str, typer.Option(help="Tars of good photographs: path, glob, folder.")],
    output: Annotated[Path, typer.Option(help="Folder for the checkpoint and the model.")],
    config: Annotated[Path | None, typer.Option(help="YAML of settings of training.")] = None,
    steps: Annotated[int | None, typer.Option(help="Updates of the weights, at most.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, crops and captions.")] = None,
    held_out: Annotated[int, typer.Option(help="Photographs not trained on.")] = 150,
    workers: Annotated[int, typer.Option(help="Processes that make batches.")] = 1,
    threads: Annotated[int, typer.Option(help="Threads of torch.")] = 2,
) -> None:
    """Train the compact CLIP on photographs, without any human opinion."""
    console = start_console()
    try:
        flags = {"steps": steps, "seed": seed}
        given = {name: value for name, value in flags.items() if value is not None}
        settings = load_config(TrainConfig, config, given)
        torch.set_num_threads(threads)
        output.mkdir(parents=True, exist_ok=True)
        trainer = Trainer(settings, load_photos(shards, held_out), output)
        _show(trainer, workers, console)
        if not trainer.done:
            console.print(_unfinished(settings), soft_wrap=True)
    except (ShardsiftError, OSError) as error:
        console.print(f"train_compact: {error}", soft_wrap=True)
        sys.exit(USER_ERROR)
    except KeyboardInterrupt:
        console.print("interrupted; run the same command again to resume")
        sys.exit(INTERRUPTED)
    console.print(f"the model to ship: {output / MODEL}")


def _show(trainer: Trainer, workers: int, console: Console) -> None:
    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console) as bar:
        task = bar.add_task("train", total=trainer.config.steps, completed=trainer.step)
        for progress in trainer.run(workers):
            bar.update(task, completed=progress.step)
            if progress.validation is not None or progress.step % _LOG_EVERY == 0:
                console.print(_line(progress), soft_wrap=True)


def _line(progress: Progress) -> str:
    """Format the losses, and the order of held-out series if it was measured."""
    losses = " ".join(f"{name} {value:.3f}" for name, value in progress.losses.items())
    line = f"step {progress.step}: {losses}"
    if progress.validation is None:
        return line
    orders = progress.validation.by_distortion.items()
    worst = sorted(orders, key=lambda item: item[1].series)[:3]
    return f"{line} | {progress.validation.quality.series:.1%} of series in order, least: " + (
        ", ".join(f"{name} {order.series:.0%}" for name, order in worst)
    )


def _unfinished(config: TrainConfig) -> str:
    return (
        f"after {config.steps} steps fewer than {config.enough:.0%} of the held-out series are in "
        "order: the photographs may be poor or few; more --steps need another --output"
    )


if __name__ == "__main__":
    typer.run(train)
