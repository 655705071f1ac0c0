"""Groups of graded crops: several views of one place in a photograph, from best to worst."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from jobs.training.distortions import DISTORTIONS, LEVELS, resize
from jobs.training.targets import severity
from shardsift.records import RgbImage

GROUP: Final = 6
"""Crops of a group: the photograph or its grainy version, that at four levels of one distortion,
and the photograph after something else."""

_JITTER: Final = 8
"""Pixels that crops of a group may be apart, so that blocks and grids do not give them away."""

_OFTEN: Final = {"exposure": 2.5, "saturation": 4.0, "banding": 4.0}
"""Distortions whose order takes longest to learn are used this many times as often."""

_GRAINY: Final = 0.25
"""Share of groups whose series starts from a grainy version of the photograph."""

Plan = list[tuple[str, float]]
"""Distortions to apply one after the other, with their levels."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """A crop and its distortions."""

    crop: RgbImage
    names: tuple[str, ...]
    severities: list[float]


def make_group(
    photo: RgbImage, side: int, plans: list[Plan], rng: np.random.Generator
) -> list[Item]:
    """Make a view of one place in one photograph for each plan; crops are `side` px square."""
    source, whole = _source(photo, side, rng)
    seed, (top, left) = int(rng.integers(1 << 31)), rng.integers(0, _JITTER + 1, size=2)
    items: list[Item] = []
    for plan in plans:
        image = source
        for name, level in plan:
            image = DISTORTIONS[name](image, level, np.random.default_rng(seed))
        crop = _shrink(image, side) if whole else image[top : top + side, left : left + side]
        names = tuple(name for name, _ in plan)
        harms = [severity(name, level) for name, level in plan]
        items.append(Item(crop=crop, names=names, severities=harms))
    return items


def draw_plans(rng: np.random.Generator) -> list[Plan]:
    """Draw what to do to the GROUP members of a group."""
    names = list(DISTORTIONS)
    shares = np.array([_OFTEN.get(name, 1.0) for name in names])
    graded = str(rng.choice(names, p=shares / shares.sum()))
    levels = np.delete(LEVELS, rng.integers(len(LEVELS)))
    start = _grain(rng)
    series = [[*start, (graded, float(level))] for level in levels]
    return [start, *series, _other_plan(graded, rng)]


def _grain(rng: np.random.Generator) -> Plan:
    """Draw light noise below a whole series, or none.

    The photographs to train on are cleaner than most, and a model that saw no grain preferred the
    JPEG that hides it.
    """
    level = float(rng.uniform(1.0, 2.0))
    return [("sensor_noise", level)] if rng.random() < _GRAINY else []


def _other_plan(taken: str, rng: np.random.Generator) -> Plan:
    """Draw one to four other distortions on top of each other."""
    others = [name for name in DISTORTIONS if name != taken]
    count = int(rng.choice([1, 2, 3, 4], p=[0.4, 0.35, 0.17, 0.08]))
    names = rng.choice(others, size=count, replace=False)
    top = (5.0, 3.6, 3.6, 2.8)[count - 1]
    return [(str(name), float(rng.uniform(1.0, top))) for name in names]


def _source(photo: RgbImage, side: int, rng: np.random.Generator) -> tuple[RgbImage, bool]:
    """Draw a region of a photograph for a group; also whether it is the whole image, to shrink."""
    if rng.random() < 0.5:
        photo = np.ascontiguousarray(photo[:, ::-1])
    whole = bool(rng.random() < 0.25)
    if whole:
        share = rng.uniform(0.75, 1.0)
        height, width = (max(side, int(length * share)) for length in photo.shape[:2])
    else:
        height = width = side + _JITTER
        photo = _scaled(photo, height, rng)
    photo = _padded(photo, height, width)
    top = int(rng.integers(photo.shape[0] - height + 1))
    left = int(rng.integers(photo.shape[1] - width + 1))
    return np.ascontiguousarray(photo[top : top + height, left : left + width]), whole


def _padded(photo: RgbImage, height: int, width: int) -> RgbImage:
    """Mirror the photograph out at bottom and right if it is smaller than that."""
    missing = [max(0, height - photo.shape[0]), max(0, width - photo.shape[1])]
    return np.pad(photo, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")


def _scaled(photo: RgbImage, smallest: int, rng: np.random.Generator) -> RgbImage:
    """Shrink, to no side under `smallest`, keep as it is, or enlarge a little.

    Good pictures differ in sharpness at pixel level; slightly enlarged ones are still good.
    """
    factor = float(rng.choice([rng.uniform(0.7, 1.0), 1.0, rng.uniform(1.0, 1.5)]))
    factor = max(factor, smallest / min(photo.shape[:2]))
    if factor == 1.0:
        return photo
    height, width = (round(length * factor) for length in photo.shape[:2])
    return resize(photo, width, height, Image.Resampling.LANCZOS)


def _shrink(image: RgbImage, side: int) -> RgbImage:
    """Shrink a whole image as the scorer does, so that training sees its aliasing."""
    view_13HW = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
    small_13SS = functional.interpolate(view_13HW, size=(side, side), mode="bilinear")
    return small_13SS[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy()
