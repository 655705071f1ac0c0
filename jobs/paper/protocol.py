"""The paper's protocol for each of its sets, and published figures from a summary.

Statistics are computed as `plcc_srcc_cal.py` of their published code does it: the curve is fitted
to opinions and predictions as they stand, from one start, and all statistics are those of the
fitted predictions. So SRCC is positive for a falling curve, too, and differs from that of the
predictions if the curve turns. N in shapes: images.

The protocol is that of their published code, github.com/zhix000/MA-CLIP at ec84412: its
`preprocess`, and its lists of pictures. Their results are second-hand: SRCC with RN50 from a public
summary of the paper's table (arXiv 2511.09948), as the paper itself couldn't be reached. The
summary's mean for CLIP-IQA is not the mean of its rows, so check the paper before citing any.
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

PUBLISHED_FROM = (
    "the paper's figures are second-hand, from a summary of its table whose means don't add up"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperSet:
    """The authors' treatment of a set.

    Attributes:
        images: number of pictures in their list.
        side: in pixels, of the square that pictures are resized to; None if they stay as they are.
        is_scaled: whether opinions are brought to 0..1, the lowest to 0 and the highest to 1.
        srcc: published value from the summary; None if unknown.
    """

    images: int
    side: int | None = None
    is_scaled: bool = False
    srcc: float | None = None


PAPER_SETS: dict[str, PaperSet] = {
    "koniq10k": PaperSet(images=10_073, srcc=0.7645),
    "spaq": PaperSet(images=11_125, side=448, srcc=0.7725),
    "livec": PaperSet(images=1_169, srcc=0.7428),
    "kadid10k": PaperSet(images=10_125, srcc=0.5251),
    "tid2013": PaperSet(images=3_000, srcc=0.5990),
    "csiq": PaperSet(images=866, srcc=0.7374),
    "agiqa3k": PaperSet(images=2_982),
    "agiqa1k": PaperSet(images=1_080, side=224),
    "pipal": PaperSet(images=24_200, is_scaled=True),
}
"""By the names that the loaders have."""

_MAX_EVALUATIONS = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperAgreement:
    """Agreement of predictions with opinions, by the authors' statistics.

    Attributes:
        images: those that have a prediction.
        betas: parameters of the curve, for predictions as they stand.
        has_fitted: False if the fit didn't converge; then their code uses the starting parameters,
            and so do these numbers.
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
