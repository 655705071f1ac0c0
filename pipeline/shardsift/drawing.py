"""The only module that knows matplotlib: figures that need no screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shardsift.errors import ConfigError

_DPI = 150


def new_figure(width: float, height: float) -> Any:
    """Make an empty figure; sizes are in inches. Raises ConfigError without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("pictures need matplotlib: pip install 'shardsift[explain]'") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, folder: Path, name: str, caption: str) -> list[Path]:
    """Write a figure as SVG, for print, and as PNG; both carry the caption as their description.

    Equal figures give equal bytes.
    """
    from matplotlib import rc_context

    paths = [folder / f"{name}{suffix}" for suffix in (".svg", ".png")]
    described = {"Description": caption}
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(paths[0], dpi=_DPI, metadata=described | {"Date": None})
    figure.savefig(paths[1], dpi=_DPI, metadata=described)
    return paths
