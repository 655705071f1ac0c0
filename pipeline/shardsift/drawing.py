"""The only module that knows matplotlib: figures that need no screen."""

from __future__ import annotations

from typing import Any

from shardsift.errors import ConfigError


def new_figure(width: float, height: float) -> Any:
    """Make an empty figure of so many inches. Raises ConfigError without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("pictures need matplotlib: pip install 'shardsift[explain]'") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
