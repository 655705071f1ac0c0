"""Heat maps of the pictures of a page: patches are scored anew, as annotations have means alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from shardsift.errors import InputError
from shardsift.records import RgbImage
from shardsift.report.pictures import Patches
from shardsift.scoring.crops import patch_corners
from shardsift.scoring.scorer import Scorer

_TOLERANCE = 0.02
"""How far a score may lie from the annotation's: 16-bit arithmetic is off by up to 0.01."""


class HeatMaps:
    """Scores the patches of images, and holds each mean against what its annotation says."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def __call__(
        self, images: Sequence[RgbImage], rows: Sequence[dict[str, Any]]
    ) -> list[Patches | None]:
        """Return the patches of each image.

        Raises:
            InputError: if the scores are not those of the annotations, as another model's aren't.
        """
        found: list[Patches | None] = []
        for image, row, score in zip(images, rows, self._scorer.score(images), strict=True):
            self._check(row, float(score.quality.mean()))
            found.append(self._lay_out(image, score.quality))
        return found

    def _lay_out(self, image: RgbImage, quality: Any) -> Patches | None:
        corners = patch_corners(image.shape[0], image.shape[1], self._scorer.config.crops)
        if not corners:
            return None
        tops, lefts = (sorted({corner[side] for corner in corners}) for side in (0, 1))
        patches = np.asarray(quality[: len(corners)], np.float32)
        return Patches(tops=tops, lefts=lefts, quality=patches.reshape(len(tops), len(lefts)))

    def _check(self, row: dict[str, Any], quality: float) -> None:
        if abs(quality - float(row["quality"])) > _TOLERANCE:
            raise InputError(
                f"{row['key']} in {row['shard']}: this model gives {quality:.4f}, and its "
                f"annotation says {row['quality']:.4f}; name the model that scored the run with "
                "--model and --pretrained"
            )
