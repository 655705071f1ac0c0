"""The benchmark's picture: a bar a contestant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_OURS, _OTHERS = "#2a6f97", "#b8b8b8"


class Bar(Protocol):
    """What a bar needs to know."""

    @property
    def name(self) -> str: ...
    @property
    def images_per_second(self) -> float: ...
    @property
    def speedup(self) -> float: ...


def draw_speeds(entries: Sequence[Bar], device: str, path: Path) -> Path:
    """Write a PNG of images a second, each with its ratio to the first."""
    figure = Figure(figsize=(8, 0.5 * len(entries) + 1.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    names = [entry.name for entry in entries]
    speeds = [entry.images_per_second for entry in entries]
    ours = [_OURS if "our" in name or "shardsift" in name else _OTHERS for name in names]
    bars = axes.barh(names, speeds, color=ours)
    labels = [f"{entry.images_per_second:,.2f}  ({entry.speedup:.1f}x)" for entry in entries]
    axes.bar_label(bars, labels, padding=4)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(right=1.22 * max(speeds))
    axes.set_xlabel("images/s")
    axes.set_title(f"512x384 JPEGs from tar to score, RN50, {device}", loc="left")
    figure.savefig(path, dpi=130)
    return path
