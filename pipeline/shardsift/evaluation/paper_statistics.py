"""Agreement as the paper's authors compute it.

As `plcc_srcc_cal.py` of their published code does it: the curve is fitted to opinions and
predictions as they stand, from one start, and all statistics are those of the fitted predictions.
So SRCC is positive for a falling curve, too, and differs from that of the predictions if the curve
turns. N in shapes: images.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from shardsift.evaluation.statistics import Values, logistic

_MAX_EVALUATIONS = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperAgreement:
    """How predictions agree with opinions, both as the authors take them.

    Attributes:
        images: those that have a prediction.
        betas: parameters of the curve, for predictions as they stand.
        has_fitted: False if the descent didn't end: their code goes on with its start then, and so
            do these numbers.
    """

    images: int
    betas: Sequence[float]
    has_fitted: bool
    srcc: float
    plcc: float
    rmse: float


def measure_as_authors(predictions: ArrayLike, opinions: ArrayLike) -> PaperAgreement:
    """Fit the curve, and compare its values with opinions, shape (N,) both.

    Predictions that are not finite are left out.
    """
    x_N, y_N = (np.asarray(values, np.float64) for values in (predictions, opinions))
    finite_N = np.isfinite(x_N)
    x_N, y_N = x_N[finite_N], y_N[finite_N]
    betas, has_fitted = _fit(x_N, y_N)
    fitted_N = logistic(x_N, *betas)
    return PaperAgreement(
        images=len(x_N),
        betas=betas,
        has_fitted=has_fitted,
        srcc=float(cast(Any, stats.spearmanr(y_N, fitted_N)).statistic),
        plcc=float(cast(Any, stats.pearsonr(y_N, fitted_N)).statistic),
        rmse=float(np.sqrt(np.mean((fitted_N - y_N) ** 2))),
    )


def _fit(x_N: Values, y_N: Values) -> tuple[list[float], bool]:
    """Return the five parameters, and whether they are more than those of the start."""
    start = [float(y_N.max()), float(y_N.min()), float(x_N.mean()), 0.1, 0.1]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optimize.OptimizeWarning)  # of a covariance not used
            found, _ = cast(Any, optimize.curve_fit)(
                logistic, x_N, y_N, p0=start, maxfev=_MAX_EVALUATIONS
            )
    except RuntimeError:
        return start, False
    return list(map(float, found)), True
