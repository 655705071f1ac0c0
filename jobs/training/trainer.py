"""The training loop of the compact CLIP: seeded, resumable, its weights always on disk."""

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

from jobs.training.batches import Batch, GradedCrops, load_batches
from jobs.training.distortions import DISTORTIONS
from jobs.training.model import CONFIG_FILE, WEIGHTS_FILE, build_model, export, parameter_groups
from jobs.training.objective import batch_losses
from jobs.training.photos import MAX_PIXELS, Photos
from jobs.training.validation import Validation, validate
from shardsift.config import Config, ScoreConfig
from shardsift.errors import ConfigError
from shardsift.images.decode import decode_rgb
from shardsift.records import RgbImage
from shardsift.scoring.scorer import Scorer

CHECKPOINT: Final = "checkpoint.pt"
MODEL: Final = "model"
"""Folder of the exported model."""

logger = logging.getLogger(__name__)


class TrainConfig(Config):
    """Everything that decides the weights, except the photographs and the number of threads."""

    steps: int = Field(default=600, ge=1, description="updates of the weights, at most")
    seed: int = Field(default=0, ge=0, description="of weights, crops and captions")
    groups: int = Field(default=10, ge=2, multiple_of=2, description="photographs a step")
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
    warmup: int = Field(default=100, ge=1, description="steps up to the highest learning rate")
    averaged_share: float = Field(
        default=0.125, gt=0, le=1, description="of the steps so far, whose weights are averaged"
    )
    side: int = Field(default=224, ge=32, multiple_of=32, description="of the crops, in px")
    enough: float = Field(
        default=0.97, gt=0, description="share of held-out series in order that ends the training"
    )
    exam_photos: int = Field(default=24, ge=1, description="held-out photographs to examine by")
    check_every: int = Field(default=50, ge=1, description="steps between checkpoints")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """State of a training after a step; `validation` is set if one was due."""

    step: int
    losses: dict[str, float]
    validation: Validation | None


class Trainer:
    """Holds what a step changes: weights, their running average, optimiser, step, and the end.

    The longer a network is fitted to synthetic distortions, the better it knows those and the less
    it remembers of real photographs. So its features of each group's first crop are held near
    what they were before training, and training ends with the first checkpoint that puts enough of
    the held-out series in order, not with the one that does so best.
    """

    def __init__(self, config: TrainConfig, photos: Photos, output: Path) -> None:
        """Resume from the checkpoint in `output`, else start with ImageNet's weights.

        Raises:
            ConfigError: if that checkpoint belongs to other settings, or there are no weights.
        """
        torch.manual_seed(config.seed)
        self.config = config
        self.step = 0
        self.done = False
        self._photos = photos
        self._output = output
        self._model = build_model(config.frozen_blocks)
        self._start = copy.deepcopy(self._model).requires_grad_(False)
        self._average = copy.deepcopy(self._start)
        groups = parameter_groups(
            self._model,
            new=config.learning_rate,
            trunk=config.trunk_learning_rate,
            weight_decay=config.weight_decay,
        )
        self._optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98))
        self._restore()

    def run(self, workers: int = 1) -> Iterator[Progress]:
        """Train until enough is in order; yields each step.

        `workers` processes make the batches.
        """
        if self.done:
            return
        config, photos = self.config, self._photos
        train = GradedCrops(photos.train, groups=config.groups, side=config.side, seed=config.seed)
        exam = [decode_rgb(data, MAX_PIXELS) for data in photos.held_out[: config.exam_photos]]
        for batch in load_batches(train, self.step, config.steps, workers):
            losses = self._update(batch)
            self.step += 1
            due = self.step % config.check_every == 0 or self.step == config.steps
            result = self._check(exam) if due else None
            yield Progress(step=self.step, losses=losses, validation=result)
            if self.done:
                return

    def _update(self, batch: Batch) -> dict[str, float]:
        for group in self._optimiser.param_groups:
            group["lr"] = group["peak"] * min(1.0, (self.step + 1) / self.config.warmup)
        parts = batch_losses(self._model, self._start, batch)
        total = torch.stack(list(parts.values())).sum()
        self._optimiser.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), 2.0)
        self._optimiser.step()
        with torch.no_grad():
            self._model.logit_scale.clamp_(0.0, math.log(100.0))
            self._update_average()
        return {name: value.item() for name, value in parts.items()}

    def _update_average(self) -> None:
        """Average the weights of about the last `averaged_share` of the steps so far."""
        keep = (1.0 + self.step) / (1.0 + self.step + 1.0 / self.config.averaged_share)
        theirs = self._model.state_dict()
        for name, mine in self._average.state_dict().items():
            if mine.is_floating_point():
                mine.lerp_(theirs[name], 1.0 - keep)
            else:
                mine.copy_(theirs[name])

    def _check(self, exam: list[RgbImage]) -> Validation:
        """Export the averaged weights, evaluate them, and write a checkpoint."""
        folder = self._output / MODEL
        export(self._average.state_dict(), folder)
        config = ScoreConfig(model=str(folder / CONFIG_FILE), pretrained=str(folder / WEIGHTS_FILE))
        result = validate(Scorer(config), exam, DISTORTIONS)
        self.done = result.quality.series >= self.config.enough
        self._save()
        return result

    def _save(self) -> None:
        state: dict[str, Any] = {
            "model": self._model.state_dict(),
            "average": self._average.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "step": self.step,
            "done": self.done,
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
        self.step, self.done = state["step"], state["done"]
        logger.info("resumed at step %d", self.step)
