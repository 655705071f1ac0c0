"""Batches of graded crops, made by background processes.

A batch is a pure function of (seed, step), so a resumed run gets the same batches as an
uninterrupted one.

Shapes in names: N crops, G groups, S members of a series, A attributes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from jobs.training.captions import attribute_prompts, caption, severity_bin
from jobs.training.distortions import DISTORTIONS
from jobs.training.groups import GROUP, Item, draw_plans, make_group
from jobs.training.photos import MAX_PIXELS
from jobs.training.targets import attribute_targets, joint_severity, quality_target
from shardsift.images.decode import decode_rgb
from shardsift.records import RgbImage

_NUMBERS: Final = {name: number for number, name in enumerate(DISTORTIONS, start=1)}
_MARGIN: Final = 0.45
"""Share of the difference in severity that neighbours of a series must differ in score."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One step's material: N = G x GROUP crops, group by group, a group's last apart best to worst.

    Groups 0 and 1, 2 and 3 and so on show different photographs after equal treatment.

    Attributes:
        crops: uint8, shape (N, 3, side, side).
        quality: target scores, 0..1, shape (N,).
        margins: least difference of neighbours in a series, shape (G, GROUP - 2).
        attributes: probability of the good end of each attribute, shape (N, A).
        kinds: int64, number of the crop's distortions, shape (N,).
        captions: one per crop.
        prompts: (good, bad) pairs, of each attribute in turn, several times over.
    """

    crops: Tensor
    quality: Tensor
    margins: Tensor
    attributes: Tensor
    kinds: Tensor
    captions: list[str]
    prompts: list[tuple[str, str]]


class GradedCrops(Dataset[Batch]):
    """Item i is the batch of step i. Photographs are decoded once in each process."""

    def __init__(self, photos: list[bytes], *, groups: int, side: int, seed: int) -> None:
        """Take the photographs; `side` of crops is in px, `groups` is even: they come in pairs."""
        self._encoded = photos
        self._decoded: list[RgbImage] = []
        self._groups = groups
        self._side = side
        self._seed = seed

    def __getitem__(self, step: int) -> Batch:
        photos = self._photos()
        rng = np.random.default_rng([self._seed, step])
        count = len(photos)
        chosen = rng.choice(count, self._groups, replace=count < self._groups)
        treatments = [draw_plans(rng) for _ in range(self._groups // 2)]
        groups = [
            make_group(photos[i], self._side, treatments[place // 2], rng)
            for place, i in enumerate(chosen)
        ]
        return _collate(groups, rng)

    def _photos(self) -> list[RgbImage]:
        if not self._decoded:
            self._decoded = [decode_rgb(data, MAX_PIXELS) for data in self._encoded]
        return self._decoded


def load_batches(dataset: GradedCrops, begin: int, end: int, workers: int) -> DataLoader[Batch]:
    """Load the batches of steps begin to end - 1, in order."""
    return DataLoader(
        dataset,
        batch_size=None,
        sampler=range(begin, end),
        num_workers=workers,
        prefetch_factor=6 if workers else None,
        multiprocessing_context="spawn" if workers else None,
    )


def _collate(groups: list[list[Item]], rng: np.random.Generator) -> Batch:
    items = [item for group in groups for item in group]
    harms = np.array([joint_severity(item.severities) for item in items])
    series_GS = harms.reshape(-1, GROUP)[:, : GROUP - 1]
    attributes = np.stack([attribute_targets(item.names, item.severities) for item in items])

    return Batch(
        crops=torch.from_numpy(np.stack([item.crop for item in items])).permute(0, 3, 1, 2),
        quality=torch.tensor([quality_target(harm) for harm in harms], dtype=torch.float32),
        margins=torch.from_numpy(np.diff(series_GS, axis=1) * _MARGIN).float(),
        attributes=torch.from_numpy(attributes),
        kinds=torch.tensor([_kind(item) for item in items]),
        captions=[
            caption(item.names, float(harm), rng) for item, harm in zip(items, harms, strict=True)
        ],
        prompts=attribute_prompts(rng),
    )


def _kind(item: Item) -> int:
    """Return the number of a caption's kind: its distortions, and how heavy they are."""
    if not item.names:
        return 0
    number = 0
    for name in sorted(item.names, key=_NUMBERS.__getitem__):
        number = number * (len(_NUMBERS) + 1) + _NUMBERS[name]
    return number * 3 + severity_bin(joint_severity(item.severities))
