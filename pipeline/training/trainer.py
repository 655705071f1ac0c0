"""The training loop of the compact CLIP: seeded, resumable, its best weights always on disk."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from pydantic import Field

from pipeline.config import Settings
from pipeline.errors import ConfigError
from pipeline.training.batches import Batch, GradedCrops, load_batches
from pipeline.training.model import build_model, export, parameter_groups
from pipeline.training.objective import batch_losses
from pipeline.training.photos import Photos
from pipeline.training.validation import Exam, Validation, make_exam, validate

CHECKPOINT: Final = "checkpoint.pt"
BEST: Final = "best"
LAST: Final = "last"

logger = logging.getLogger(__name__)


class TrainConfig(Settings):
    """Everything that decides the weights, but for the photographs and the number of threads."""

    steps: int = Field(default=400, ge=1, description="updates of the weights")
    seed: int = Field(default=0, ge=0, description="of weights, crops and captions")
    groups: int = Field(default=12, ge=2, multiple_of=2, description="photographs a step")
    learning_rate: float = Field(
        default=1e-3, gt=0, description="of projection and text tower, at its highest"
    )
    trunk_learning_rate: float = Field(
        default=3e-5, gt=0, description="of the pretrained image tower, at its highest"
    )
    frozen_blocks: int = Field(
        default=3, ge=0, le=7, description="of the image tower's 7 groups, left as they are"
    )
    weight_decay: float = Field(default=0.03, ge=0, description="of new matrices, by AdamW")
    warmup: int = Field(default=150, ge=1, description="steps up to the highest learning rate")
    average: float = Field(default=0.995, ge=0, lt=1, description="decay of the averaged weights")
    small_side: int = Field(default=160, multiple_of=32, description="of most crops, in px")
    large_side: int = Field(
        default=224, multiple_of=32, description="of the last and held-out ones"
    )
    large_share: float = Field(default=0.15, ge=0, le=1, description="of the steps: large crops")
    exam_batches: int = Field(default=10, ge=1, description="held-out batches to report on")
    exam_photos: int = Field(
        default=24, ge=1, description="held-out photographs whose unseen distortions select it"
    )
    check_every: int = Field(default=100, ge=1, description="steps between checkpoints")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands after a step; `validation` is set where one was due."""

    step: int
    losses: dict[str, float]
    validation: Validation | None
    best: float


class Trainer:
    """Holds what a step changes: weights, their running average, optimiser, step, best score."""

    def __init__(self, config: TrainConfig, photos: Photos, output: Path) -> None:
        """Go on from the checkpoint in `output`, else begin with ImageNet's weights.

        Raises:
            ConfigError: where that checkpoint belongs to other settings, or there are no weights.
        """
        torch.manual_seed(config.seed)
        self.config = config
        self.step = 0
        self.best = -math.inf
        self._photos = photos
        self._output = output
        self._model = build_model(config.frozen_blocks)
        self._average = copy.deepcopy(self._model).requires_grad_(False)
        groups = parameter_groups(
            self._model,
            new=config.learning_rate,
            trunk=config.trunk_learning_rate,
            weight_decay=config.weight_decay,
        )
        self._optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98))
        self._restore()

    def run(self, workers: int = 1) -> Iterator[Progress]:
        """Train to the last step; yields each step. `workers` processes make the batches."""
        config, photos = self.config, self._photos
        large_from = round(config.steps * (1.0 - config.large_share))
        sides = [(0, config.small_side), (large_from, config.large_side)]
        train = GradedCrops(photos.train, groups=config.groups, sides=sides, seed=config.seed)
        sides = [(0, config.large_side)]
        held_out = GradedCrops(
            photos.held_out, groups=config.groups, sides=sides, seed=config.seed + 1
        )
        exam = make_exam(
            [held_out[index] for index in range(config.exam_batches)],
            photos.held_out[: config.exam_photos],
            config.large_side,
        )
        for batch in load_batches(train, self.step, config.steps, workers):
            losses = self._update(batch)
            self.step += 1
            due = self.step % config.check_every == 0 or self.step == config.steps
            result = self._check(exam) if due else None
            yield Progress(step=self.step, losses=losses, validation=result, best=self.best)

    def _update(self, batch: Batch) -> dict[str, float]:
        for group in self._optimiser.param_groups:
            group["lr"] = group["peak"] * self._schedule()
        parts = batch_losses(self._model, batch)
        total = torch.stack(list(parts.values())).sum()
        self._optimiser.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), 2.0)
        self._optimiser.step()
        with torch.no_grad():
            self._model.logit_scale.clamp_(0.0, math.log(100.0))
            self._update_average()
        return {name: value.item() for name, value in parts.items()}

    def _schedule(self) -> float:
        """Share of the highest learning rate: linear warm-up, then half a cosine down to 2 %."""
        config = self.config
        warm = min(1.0, (self.step + 1) / config.warmup)
        cosine = 0.5 * (1.0 + math.cos(math.pi * self.step / config.steps))
        return warm * (0.02 + 0.98 * cosine)

    def _update_average(self) -> None:
        keep = min(self.config.average, (1.0 + self.step) / (10.0 + self.step))
        theirs = self._model.state_dict()
        for name, mine in self._average.state_dict().items():
            if mine.is_floating_point():
                mine.lerp_(theirs[name], 1.0 - keep)
            else:
                mine.copy_(theirs[name])

    def _check(self, exam: Exam) -> Validation:
        """Validate the averaged weights, export them, and write a checkpoint."""
        result = validate(self._average, exam)
        if result.score > self.best:
            self.best = result.score
            export(self._average.state_dict(), self._output / BEST)
        export(self._average.state_dict(), self._output / LAST)
        self._save()
        return result

    def _save(self) -> None:
        state: dict[str, Any] = {
            "model": self._model.state_dict(),
            "average": self._average.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "step": self.step,
            "best": self.best,
            "config": self.config.model_dump(),
        }
        scratch = self._output / f"{CHECKPOINT}.tmp"
        torch.save(state, scratch)
        scratch.replace(self._output / CHECKPOINT)

    def _restore(self) -> None:
        path = self._output / CHECKPOINT
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        config = self.config.model_dump()
        if state["config"] != config:
            changed = [name for name, value in state["config"].items() if config[name] != value]
            raise ConfigError(
                f"{path} belongs to a run with other settings ({', '.join(changed)}); "
                "repeat those to go on with it, or pass another --output to start anew"
            )
        self._model.load_state_dict(state["model"])
        self._average.load_state_dict(state["average"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.step, self.best = state["step"], state["best"]
        logger.info("resumed at step %d", self.step)
