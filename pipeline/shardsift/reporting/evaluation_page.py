"""Agreement with opinions as one HTML file: a scatter plot and a fitted curve for each method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from shardsift.config.verb_settings import EvaluateConfig
from shardsift.evaluation.agreement import Evaluation
from shardsift.evaluation.statistics import CONFIDENCE, STATISTIC_NAMES
from shardsift.reporting.html import render_page

_WIDTH, _HEIGHT = 320, 240
_DOTS = 3000
_CURVE_POINTS = 60


def render_evaluation(evaluation: Evaluation, config: EvaluateConfig) -> str:
    """Render the page's HTML."""
    settings = {
        "model": config.model,
        "crops": config.crops,
        "dtype": config.dtype,
        "opinions": config.mos_field + (", higher is worse" if config.higher_is_worse else ""),
        "fingerprint": evaluation.fingerprint,
    }
    return render_page(
        "evaluation.html",
        (),
        None,
        title="Agreement with opinions",
        settings=settings,
        images=len(evaluation.keys),
        skipped=evaluation.skipped,
        confidence=f"{CONFIDENCE:.0%}" if config.resamples else "",
        resamples=config.resamples,
        statistics=STATISTIC_NAMES,
        agreements=evaluation.agreements,
        plots=list(_plots(evaluation, config)),
        size=(_WIDTH, _HEIGHT),
    )


def _plots(evaluation: Evaluation, config: EvaluateConfig) -> Iterator[Mapping[str, Any]]:
    """Yield for each method its dots and its curve, in pixels from the upper left corner."""
    low, high = float(evaluation.opinions.min()), float(evaluation.opinions.max())
    for name, predictions_N in evaluation.predictions.items():
        finite_N = np.isfinite(predictions_N)
        x_N, y_N = predictions_N[finite_N], evaluation.opinions[finite_N]
        first, last = (float(edge) for edge in np.quantile(x_N, [0.002, 0.998]))
        found = evaluation.agreements[name]

        def across(values: Any, first: float = first, last: float = last) -> Any:
            return np.clip((values - first) / ((last - first) or 1), 0, 1) * _WIDTH

        def down(values: Any) -> Any:
            return _HEIGHT - np.clip((values - low) / ((high - low) or 1), 0, 1) * _HEIGHT

        line = np.linspace(first, last, _CURVE_POINTS)
        # The curve was fitted to opinions whose sign was turned, so that higher is better.
        curve = found.curve(line) * (-1 if config.higher_is_worse else 1)
        chosen = np.linspace(0, len(x_N) - 1, min(len(x_N), _DOTS)).astype(int)
        yield {
            "name": name,
            "images": len(x_N),
            "srcc": found.srcc.told(3),
            "range": (first, last, low, high),
            "dots": list(zip(across(x_N[chosen]), down(y_N[chosen]), strict=True)),
            "curve": list(zip(across(line), down(curve), strict=True)),
        }
