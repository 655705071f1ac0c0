"""Images crop by crop: where they are good and where they are bad.

In a notebook:

>>> from shardsift import Scorer, explain
>>> explain("photo.jpg", Scorer("compact"))  # in a notebook, this shows the picture
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardsift.drawing import new_figure
from shardsift.errors import InputError
from shardsift.images.decode import AnyImage, as_rgb
from shardsift.records import CUES, ImageScore, RgbImage
from shardsift.reporting.pictures import Patches
from shardsift.scoring.crops import CROP_SIZE, patch_corners
from shardsift.scoring.scorer import Scorer

_MAX_SIDE = 1600
"""Larger pictures are thinned before they are drawn."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Explanation:
    """An image, its scores, and where its patches lie.

    Attributes:
        model: what scored it, for people.
        corners: top and left of each patch, in pixels; the last crop is the whole image.
        heat: mean quality of the patches over each pixel, shape (height, width), NaN if no
            patch reaches; that of the whole image everywhere if there are no patches.
    """

    name: str
    model: str
    image: RgbImage
    score: ImageScore
    corners: list[tuple[int, int]]
    heat: NDArray[np.float32]

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        name = f"{self.name!r}, " if self.name else ""
        lowest = (
            "" if self.worst is None else f", lowest={self.score.per_crop.quality[self.worst]:.4f}"
        )
        return f"Explanation({name}{width}x{height}, {self.score!r}{lowest})"

    def _repr_png_(self) -> bytes:
        """Show the picture beside its heat map in a notebook. Raises ConfigError."""
        file = io.BytesIO()
        draw(self).savefig(file, format="png", dpi=80)
        return file.getvalue()

    @property
    def worst(self) -> int | None:
        """Index of the patch with the lowest quality; None if there are no patches."""
        patches = self.score.per_crop.quality[: len(self.corners)]
        return int(patches.argmin()) if len(patches) else None

    def rows(self) -> dict[str, dict[str, float]]:
        """Return cues by crop: their means, then each patch by `left,top`, then the whole image."""
        cues = {cue: getattr(self.score.per_crop, cue) for cue in CUES}
        names = [*(f"{left},{top}" for top, left in self.corners), "whole image"]
        crops = {
            name: {cue: float(values[place]) for cue, values in cues.items()}
            for place, name in enumerate(names)
        }
        return {"mean": {cue: getattr(self.score, cue) for cue in CUES}} | crops


def explain(image: AnyImage, scorer: Scorer, name: str = "") -> Explanation:
    """Score an image, and lay its patches out.

    `image` is a path or URL, a PIL image, or RGB as uint8, shape (height, width, 3); its `name` is
    that of the file, if none is given.

    Raises:
        InputError: if there is no such file, or an array is no RGB image.
        ImageError: if it can't be decoded.
    """
    if isinstance(image, str | PathLike):
        name = name or fspath(image).rpartition("/")[2]
    image = as_rgb(image, name or "image", scorer.config.max_pixels)
    height, width = image.shape[:2]
    score = scorer(image)
    corners = patch_corners(height, width, scorer.config.crops)
    heat = lay_out(score.per_crop.quality, corners, height, width)
    model = f"{scorer.config.model}, {scorer.config.crops} crops"
    return Explanation(name=name, model=model, image=image, score=score, corners=corners, heat=heat)


def lay_out(
    quality: NDArray[np.float32], corners: list[tuple[int, int]], height: int, width: int
) -> NDArray[np.float32]:
    """Average the patches' quality over each pixel, shape (height, width)."""
    if not corners:
        return np.full((height, width), quality[-1], np.float32)
    total = np.zeros((height, width), np.float64)
    count = np.zeros((height, width), np.int32)
    for value, (top, left) in zip(quality[:-1], corners, strict=True):
        place = slice(top, top + CROP_SIZE), slice(left, left + CROP_SIZE)
        total[place] += value
        count[place] += 1
    with np.errstate(invalid="ignore"):
        return (total / count).astype(np.float32)


Scale = tuple[float, float]
"""The qualities at the ends of a colour scale."""


def common_scale(explanations: Iterable[Explanation]) -> Scale:
    """Find the scale that spans the patches of some images, so that their colours compare."""
    ends = [(float(np.nanmin(one.heat)), float(np.nanmax(one.heat))) for one in explanations]
    return min(low for low, _ in ends) - 1e-3, max(high for _, high in ends) + 1e-3


def draw(explanation: Explanation, scale: Scale | None = None) -> Any:
    """Draw the image beside its heat map, as a matplotlib figure.

    The worst patch is outlined, and areas without a patch are hatched. Colours span the image's own
    patches, or a given scale, which the colour bar shows.

    Raises:
        ConfigError: without matplotlib.
    """
    low, high = scale or common_scale([explanation])
    figure = new_figure(*_size(explanation.image))
    plain, hot = figure.subplots(1, 2)
    thinning = -(-max(explanation.image.shape[:2]) // _MAX_SIDE)
    height, width = explanation.image.shape[:2]
    frame = (0, width, height, 0)
    shown = explanation.image[::thinning, ::thinning]
    plain.imshow(shown, extent=frame)
    # grey below the heat map, so that its colours don't mix with the picture's
    hot.imshow(shown.mean(axis=2), extent=frame, cmap="gray", vmin=0, vmax=255)
    for axes in (plain, hot):
        axes.set_axis_off()
    heat_HW = explanation.heat[::thinning, ::thinning]
    heat = hot.imshow(heat_HW, extent=frame, cmap="RdYlBu", alpha=0.6, vmin=low, vmax=high)
    _hatch_margin(hot, np.isnan(heat_HW), width, height)
    figure.colorbar(heat, ax=hot, shrink=0.85, label="quality")
    means = (getattr(explanation.score, cue) for cue in CUES)
    plain.set_title(f"{explanation.name or 'image'}\n{explanation.model}", fontsize=9, loc="left")
    hot.set_title(
        "quality {:.3f}   q_sim {:.3f}   q_mag {:.3f}   w_sim {:.2f}".format(*means),
        fontsize=9,
        loc="left",
    )
    _outline_worst(hot, explanation)
    return figure


def _hatch_margin(axes: Any, is_margin_HW: NDArray[np.bool_], width: int, height: int) -> None:
    """Hatch what no patch covers, so that it doesn't look like middling quality."""
    if not is_margin_HW.any():
        return
    rows, columns = is_margin_HW.shape
    places = (np.arange(columns) + 0.5) * width / columns, (np.arange(rows) + 0.5) * height / rows
    axes.contourf(*places, is_margin_HW, levels=[0.5, 1.5], colors=["none"], hatches=["////"])
    axes.text(
        *(width, height, "hatched: no patch "),
        **{"ha": "right", "va": "bottom", "fontsize": 8},
        bbox={"facecolor": "white", "alpha": 0.8, "lw": 0, "pad": 1},
    )


def _outline_worst(axes: Any, explanation: Explanation) -> None:
    if explanation.worst is None:
        return
    top, left = explanation.corners[explanation.worst]
    lowest = explanation.score.per_crop.quality[explanation.worst]
    sides = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]) * CROP_SIZE + (left, top)
    axes.plot(*sides.T, color="black", lw=2, ls="--")
    axes.text(
        *(left + 8, top + 8, f"{lowest:.3f}"),
        va="top",
        fontsize=9,
        bbox={"facecolor": "white", "alpha": 0.8, "lw": 0},
    )


def _size(image: RgbImage) -> tuple[float, float]:
    """Choose the inches of a figure that shows the image twice."""
    height, width = image.shape[:2]
    return 9.6, min(max(4.4 * height / width, 1.6), 9.0) + 0.5


_TOLERANCE = 0.02
"""Largest difference from the annotation's score: 16-bit arithmetic is off by up to 0.01."""


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
            self._check(row, score.quality)
            found.append(self._lay_out(image, score.per_crop.quality))
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
                f"{row['key']} in {row['shard']}: this model gives {quality:.4f}, but the "
                f"annotation has {row['quality']:.4f}; pass the model of the run to --model and "
                "--pretrained"
            )
