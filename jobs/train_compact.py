"""Train the compact CLIP: `python -m jobs.train_compact --shards SHARDS --output DIR`.

The same command goes on after a stop. `DIR/best` holds the model to ship.

    0 done   2 a mistake to mend   130 interrupted
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from jobs.console import start_console
from jobs.exit_codes import INTERRUPTED, USER_ERROR
from pipeline.config import load_settings
from pipeline.errors import ShardsiftError
from pipeline.training.photos import load_photos
from pipeline.training.trainer import BEST, Progress, TrainConfig, Trainer

_LOG_EVERY = 50


def train(
    shards: Annotated[str, typer.Option(help="Tars of good photographs: path, glob, folder.")],
    output: Annotated[Path, typer.Option(help="Folder for checkpoint, best and last weights.")],
    config: Annotated[Path | None, typer.Option(help="YAML of settings of training.")] = None,
    steps: Annotated[int | None, typer.Option(help="Updates of the weights.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, crops and captions.")] = None,
    held_out: Annotated[int, typer.Option(help="Photographs to select the best by.")] = 150,
    workers: Annotated[int, typer.Option(help="Processes that make batches.")] = 1,
    threads: Annotated[int, typer.Option(help="Threads of torch.")] = 2,
) -> None:
    """Train the compact CLIP on photographs, without any human opinion."""
    console = start_console()
    try:
        flags = {"steps": steps, "seed": seed}
        given = {name: value for name, value in flags.items() if value is not None}
        settings = load_settings(TrainConfig, config, given)
        torch.set_num_threads(threads)
        output.mkdir(parents=True, exist_ok=True)
        trainer = Trainer(settings, load_photos(shards, held_out), output)
        _show(trainer, workers, console)
    except (ShardsiftError, OSError) as error:
        console.print(f"train_compact: {error}", soft_wrap=True)
        sys.exit(USER_ERROR)
    except KeyboardInterrupt:
        console.print("interrupted; the same command goes on where this one stopped")
        sys.exit(INTERRUPTED)
    console.print(f"the model to ship: {output / BEST}")


def _show(trainer: Trainer, workers: int, console: Console) -> None:
    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console) as bar:
        task = bar.add_task("train", total=trainer.config.steps, completed=trainer.step)
        for progress in trainer.run(workers):
            bar.update(task, completed=progress.step)
            if progress.validation is not None or progress.step % _LOG_EVERY == 0:
                console.print(_line(progress), soft_wrap=True)


def _line(progress: Progress) -> str:
    """Losses, and the validation where there was one."""
    line = f"step {progress.step}: {_figures(progress.losses, 3)}"
    if progress.validation is None:
        return line
    figures = _figures(dataclasses.asdict(progress.validation), 4)
    return f"{line} | {figures} | best {progress.best:.4f}"


def _figures(values: dict[str, float], digits: int) -> str:
    return " ".join(f"{name} {value:.{digits}f}" for name, value in values.items())


if __name__ == "__main__":
    typer.run(train)
