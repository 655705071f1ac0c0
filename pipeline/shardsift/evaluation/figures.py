"""The paper's figures of an evaluation, as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from shardsift.drawing import new_figure
from shardsift.evaluation.evaluate import MAGNITUDE, SIMILARITY, Evaluation, bin_means
from shardsift.evaluation.statistics import Values, fit_logistic

_BLUE, _RED, _GREY = "#2a6f97", "#c1440e", "#7a7a7a"
_DPI = 110
_SHOWN = 5000
"""Dots in a scatter plot; more are only darker."""


def draw_figures(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write `fit.png`, `cues.png` and, if there are groups, `groups.png`.

    Raises:
        ConfigError: without matplotlib.
    """
    figures = {"fit": _draw_fits(evaluation), "cues": _draw_cues(evaluation)}
    if evaluation.spread is not None:
        figures["groups"] = _draw_groups(evaluation)
    paths: list[Path] = []
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=_DPI)
        paths.append(path)
    return paths


def _draw_fits(evaluation: Evaluation) -> Any:
    """Draw opinion over prediction with the fitted curve, a panel a method."""
    names = list(evaluation.predictions)
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = new_figure(3.6 * columns, 3.1 * rows)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel, name in zip(panels, names, strict=False):
        values_N, finite_N = evaluation.predictions[name], np.isfinite(evaluation.predictions[name])
        x_N, y_N = values_N[finite_N], evaluation.opinions[finite_N]
        shown_N = np.linspace(0, len(x_N) - 1, min(len(x_N), _SHOWN)).astype(int)
        panel.plot(x_N[shown_N], y_N[shown_N], ".", ms=5, alpha=0.4, color=_BLUE, mew=0)
        line = np.linspace(*_inner_range(x_N), 200)
        panel.plot(line, fit_logistic(x_N, y_N)(line), color=_RED, lw=2)
        agreement = evaluation.agreements[name]
        panel.set_title(
            f"{name}\nSRCC {agreement.srcc.value:.3f}   PLCC {agreement.plcc.value:.3f}",
            fontsize=9,
            loc="left",
        )
        panel.set_xlabel("prediction", fontsize=8)
        panel.set_ylabel("opinion", fontsize=8)
        _tidy(panel)
    for panel in panels[len(names) :]:
        panel.set_visible(False)
    return figure


def _draw_cues(evaluation: Evaluation) -> Any:
    """Draw both cues over bins of opinion."""
    figure = new_figure(6.4, 3.6)
    left = figure.subplots()
    right = left.twinx()
    for axes, name, colour in ((left, SIMILARITY, _BLUE), (right, MAGNITUDE, _RED)):
        mean, value, deviation = bin_means(evaluation.opinions, evaluation.predictions[name])
        axes.plot(mean, value, "o-", color=colour, label=name)
        axes.fill_between(mean, value - deviation, value + deviation, color=colour, alpha=0.13)
        axes.set_ylabel(name, color=colour, fontsize=9)
        axes.tick_params(axis="y", colors=colour, labelsize=8)
        axes.spines["top"].set_visible(False)
    left.set_xlabel("opinion, mean of a tenth of the images", fontsize=9)
    left.set_title("Both cues over opinion (band: one standard deviation)", fontsize=10, loc="left")
    return figure


def _draw_groups(evaluation: Evaluation) -> Any:
    """Draw the magnitude cue of each group, before and after Box-Cox."""
    spread = evaluation.spread
    assert spread is not None, "asked for if there are groups"
    figure = new_figure(8.4, 0.34 * len(spread.before) + 1.6)
    sides = figure.subplots(1, 2, sharey=True)
    titles = (
        f"before Box-Cox: Wasserstein {spread.distance_before:.3f}",
        f"after: {spread.distance_after:.3f}",
    )
    for axes, values, title in zip(sides, (spread.before, spread.after), titles, strict=True):
        boxes = axes.boxplot(
            _as_rows(values), orientation="horizontal", widths=0.6, sym="", patch_artist=True
        )
        for box in cast(list[Any], boxes["boxes"]):
            box.set_facecolor("#cfe0ea")
        axes.set_yticks(range(1, len(values) + 1), list(values))
        axes.axvline(0, color=_GREY, lw=0.8)
        axes.set_title(title, fontsize=10, loc="left")
        axes.set_xlabel("standard deviations from the mean of all", fontsize=8)
        _tidy(axes)
    return figure


def _as_rows(values: dict[str, Values]) -> Sequence[Values]:
    return list(values.values())


def _inner_range(x_N: Values) -> tuple[float, float]:
    """Leave out the outermost hundredth, whose straight tail would rule the picture."""
    low, high = np.quantile(x_N, [0.002, 0.998])
    return float(low), float(high)


def _tidy(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
