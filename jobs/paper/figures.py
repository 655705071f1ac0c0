"""The paper's figures of an evaluation, as SVG and PNG files.

Colours are those of Okabe and Ito, which the colour-blind tell apart; marks and dashes differ, too,
for print without colour.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from jobs.paper.evaluation import Experiment
from jobs.paper.groups import GroupSpread
from shardsift.drawing import new_figure, save_figure
from shardsift.evaluation.agreement import MAGNITUDE, OURS, SIMILARITY
from shardsift.evaluation.statistics import CONFIDENCE, Estimate, Values

_GREY = "#595959"
_FILL = "#bcd9ea"
_SHOWN = 5000
"""Dots in a scatter plot; more are only darker."""

_BINS = 10
_LETTERS_PER_INCH = 15


@dataclass(frozen=True, slots=True)
class _Look:
    colour: str
    mark: str
    line: str


_LOOKS = {
    OURS: _Look("#000000", "s", "-"),
    SIMILARITY: _Look("#0072b2", "o", "--"),
    MAGNITUDE: _Look("#d55e00", "^", "-."),
}
_OTHER_LOOK = _Look("#009e73", "D", ":")


def draw_figures(evaluation: Experiment, folder: Path) -> list[Path]:
    """Write `fit`, `cues`, `thirds` if there are enough images, and `groups` if there are groups.

    Raises:
        ConfigError: without matplotlib.
    """
    return [
        path
        for name, figure, caption in _figures(evaluation)
        for path in save_figure(figure, folder, name, caption)
    ]


def _figures(evaluation: Experiment) -> Iterator[tuple[str, Any, str]]:
    yield "fit", *_draw_fits(evaluation)
    yield "cues", *_draw_cues(evaluation)
    if evaluation.thirds:
        yield "thirds", *_draw_thirds(evaluation)
    if isinstance(evaluation.spread, GroupSpread):
        yield "groups", *_draw_groups(evaluation, evaluation.spread)


def _draw_fits(evaluation: Experiment) -> tuple[Any, str]:
    """Draw opinion over prediction with the fitted curve, a panel a method, side by side."""
    names = list(evaluation.predictions)
    columns = 4 if len(names) == 4 else min(3, len(names))
    rows = -(-len(names) // columns)
    figure = new_figure(3.1 * columns, 3.0 * rows + 1.0)
    panels = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
    for place, (panel, name) in enumerate(zip(panels, names, strict=False)):
        _draw_fit(panel, evaluation, name)
        if place % columns == 0:
            panel.set_ylabel(_opinion(evaluation), fontsize=9)
    for panel in panels[len(names) :]:
        panel.set_visible(False)
    panels[0].legend(loc="lower right", fontsize=8, frameon=True, markerscale=1.5)
    shown = min(len(evaluation.keys), _SHOWN)
    return figure, _add_caption(
        figure,
        f"{_about(evaluation)} A dot is a picture{_of_all(shown, evaluation)}; the line is the "
        "logistic of five parameters that is fitted to all of them. SRCC of the prediction, PLCC "
        f"after the fit, {_interval(evaluation)}. Predictions have no unit.",
    )


def _draw_fit(panel: Any, evaluation: Experiment, name: str) -> None:
    look = _LOOKS.get(name, _OTHER_LOOK)
    finite_N = np.isfinite(evaluation.predictions[name])
    x_N, y_N = evaluation.predictions[name][finite_N], evaluation.opinions[finite_N]
    shown = np.linspace(0, len(x_N) - 1, min(len(x_N), _SHOWN)).astype(int)
    panel.plot(
        x_N[shown],
        y_N[shown],
        look.mark,
        color=look.colour,
        alpha=0.3,
        ms=3.5,
        mew=0,
        rasterized=True,
        label="picture",
    )
    found = evaluation.agreements[name]
    line = np.linspace(*_inner_range(x_N), 200)
    # It was fitted to opinions that are turned so that higher is better.
    curve = found.curve(line) * (-1 if evaluation.config.higher_is_worse else 1)
    panel.plot(line, curve, color="white", lw=4)
    panel.plot(line, curve, color="black", lw=1.8, label="fit")
    panel.set_title(
        f"{name}\nSRCC {found.srcc.told(3)}\nPLCC {found.plcc.told(3)}", fontsize=9, loc="left"
    )
    panel.set_xlabel(f"prediction, n = {found.images:,}", fontsize=9)
    _tidy(panel)


def _draw_cues(evaluation: Experiment) -> tuple[Any, str]:
    """Draw both cues and the fused score over bins of ratings, on one axis."""
    figure = new_figure(6.4, 4.4)
    axes = figure.subplots()
    for name in (SIMILARITY, MAGNITUDE, OURS):
        look = _LOOKS[name]
        mean, value, deviation = bin_means(evaluation.opinions, evaluation.predictions[name], _BINS)
        axes.plot(mean, value, look.mark + look.line, color=look.colour, label=name, lw=1.6, ms=5)
        if name != OURS:
            axes.fill_between(
                mean, value - deviation, value + deviation, color=look.colour, alpha=0.15, lw=0
            )
    axes.set_xlabel(f"{_opinion(evaluation)}, mean of a tenth of the pictures", fontsize=9)
    axes.set_ylabel("value of the cue, no unit", fontsize=9)
    axes.set_title("What each cue says of better and better pictures", fontsize=10, loc="left")
    axes.legend(loc="best", fontsize=8, frameon=False)
    _tidy(axes)
    return figure, _add_caption(
        figure,
        f"{_about(evaluation)} A mark is the mean of a tenth of the pictures, in order of opinion "
        f"(n = {len(evaluation.keys) // _BINS:,} each), a band one standard deviation of them to "
        "both sides.",
    )


def _draw_thirds(evaluation: Experiment) -> tuple[Any, str]:
    """Draw the agreement of each cue in low, middle and high quality."""
    figure = new_figure(6.4, 4.4)
    axes = figure.subplots()
    thirds = evaluation.thirds
    for number, name in enumerate((SIMILARITY, MAGNITUDE, OURS)):
        look = _LOOKS[name]
        found = [*(third.srcc[name] for third in thirds), evaluation.agreements[name].srcc]
        axes.errorbar(
            np.arange(len(found)) + 0.16 * (number - 1),
            [estimate.value for estimate in found],
            yerr=np.array([_reach(estimate) for estimate in found]).T,
            fmt=look.mark,
            color=look.colour,
            ms=7,
            capsize=4,
            lw=1.6,
            label=name,
        )
    labels = [f"{t.name}\n{t.lowest:.4g} to {t.highest:.4g}\nn = {t.images:,}" for t in thirds]
    labels.append(f"all\n\nn = {len(evaluation.keys):,}")
    axes.set_xticks(range(len(labels)), labels)
    axes.axhline(0, color=_GREY, lw=0.8)
    axes.axvline(len(thirds) - 0.5, color=_GREY, lw=0.8, ls=":")
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.set_xlabel(f"third of the pictures by {_opinion(evaluation)}", fontsize=9)
    axes.set_ylabel("SRCC", fontsize=9)
    axes.set_title("Which cue is right where", fontsize=10, loc="left")
    axes.legend(loc="best", fontsize=8, frameon=False)
    _tidy(axes)
    bars = f"Bars: {_interval(evaluation)}. " if evaluation.config.resamples else ""
    return figure, _add_caption(
        figure,
        f"{_about(evaluation)} {bars}Opinions vary less within a third than over all, which "
        "lowers every SRCC there: compare cues, not thirds.",
    )


def _draw_groups(evaluation: Experiment, spread: GroupSpread) -> tuple[Any, str]:
    """Draw the magnitude cue of each group, before and after Box-Cox."""
    figure = new_figure(8.4, 0.34 * len(spread.before) + 2.3)
    sides = figure.subplots(1, 2, sharey=True, sharex=True)
    sides[0].invert_yaxis()  # the largest above
    titles = (
        f"before Box-Cox: Wasserstein {spread.distance_before:.3f}",
        f"after: Wasserstein {spread.distance_after:.3f}",
    )
    labels = [f"{name} (n = {len(own):,})" for name, own in spread.before.items()]
    for axes, values, title in zip(sides, (spread.before, spread.after), titles, strict=True):
        boxes = axes.boxplot(
            list(values.values()),
            orientation="horizontal",
            widths=0.6,
            sym="",
            whis=(5, 95),
            patch_artist=True,
            medianprops={"color": "black", "lw": 1.6},
        )
        for box in cast(list[Any], boxes["boxes"]):
            box.set_facecolor(_FILL)
        axes.set_yticks(range(1, len(values) + 1), labels)
        axes.axvline(0, color=_GREY, lw=0.8)
        axes.set_title(title, fontsize=10, loc="left")
        axes.set_xlabel("magnitude cue, standard deviations", fontsize=9)
        _tidy(axes)
    return figure, _add_caption(
        figure,
        f"{_about(evaluation)} Groups: {spread.source}, the largest of 10 pictures or more. Boxes: "
        "quartiles and median; whiskers: 5 % to 95 %; 0 is the mean of all pictures. Wasserstein: "
        "mean distance between two groups, in standard deviations of all; Box-Cox changes it by "
        f"{spread.change.told(3)}, {_interval(evaluation)}.",
    )


def _about(evaluation: Experiment) -> str:
    """Describe the measurement for a caption."""
    config = evaluation.config
    name = config.iqa_set or "A set without a name"
    return (
        f"{name}: {len(evaluation.keys):,} pictures, protocol {config.protocol}; {config.model}, "
        f"crops {config.crops}, {config.dtype}."
    )


def _interval(evaluation: Experiment) -> str:
    resamples = evaluation.config.resamples
    if not resamples:
        return "without intervals"
    return f"{CONFIDENCE:.0%} intervals of {resamples:,} bootstrap resamples of the pictures"


def _of_all(shown: int, evaluation: Experiment) -> str:
    images = len(evaluation.keys)
    return "" if shown == images else f" ({shown:,} of the {images:,}, evenly taken)"


def _opinion(evaluation: Experiment) -> str:
    config = evaluation.config
    turned = ", higher is worse" if config.higher_is_worse else ""
    scaled = ", 0 to 1" if config.paper_set and config.paper_set.is_scaled else ""
    return f"opinion ({config.mos_field}{scaled}{turned})"


def _reach(estimate: Estimate) -> tuple[float, float]:
    """Return the distances of the interval's ends from the value; 0 without an interval."""
    if estimate.low is None or estimate.high is None:
        return 0.0, 0.0
    return max(0.0, estimate.value - estimate.low), max(0.0, estimate.high - estimate.value)


def _add_caption(figure: Any, caption: str) -> str:
    """Write the caption below the figure; return it."""
    letters = int(figure.get_figwidth() * _LETTERS_PER_INCH)
    figure.supxlabel(textwrap.fill(caption, letters), x=0.01, ha="left", fontsize=8, color=_GREY)
    return caption


def _inner_range(x_N: Values) -> tuple[float, float]:
    """Leave out the outermost hundredth, whose straight tail would rule the picture."""
    low, high = np.quantile(x_N, [0.002, 0.998])
    return float(low), float(high)


def _tidy(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def bin_means(
    opinions_N: Values, values_N: Values, bins: int = 10
) -> tuple[Values, Values, Values]:
    """Average opinions and a cue over bins of equally many images, with the cue's deviation.

    Three arrays of shape (bins,), from the lowest opinions to the highest.
    """
    order_N = np.argsort(opinions_N, kind="stable")
    parts = np.array_split(order_N, min(bins, len(order_N)))
    mean = np.array([opinions_N[part].mean() for part in parts])
    value = np.array([values_N[part].mean() for part in parts])
    return mean, value, np.array([values_N[part].std() for part in parts])
