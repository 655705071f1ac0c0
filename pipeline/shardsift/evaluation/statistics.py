"""Agreement of predictions with people's ratings, as image quality assessment reports it.

SRCC and KRCC compare ranks. PLCC and RMSE come after a 5-parameter logistic is fitted, which the
field does because a metric's scale need not be that of opinions:

    f(x) = β1 (1/2 - 1 / (1 + exp(β2 (x - β3)))) + β4 x + β5

(Sheikh, Sabir and Bovik, "A statistical evaluation of recent full reference image quality
assessment algorithms", IEEE TIP 2006.) The fit turns a falling curve into a rising one, so the raw
PLCC is reported, too; it shows a flipped sign.

N in shapes: images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from shardsift.errors import InputError

Values = NDArray[np.float64]

CONFIDENCE = 0.95
"""Share of the resamples that an interval holds."""

_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)

MIN_IMAGES = 8
"""With fewer, five parameters fit anything."""

_MAX_EVALUATIONS = 2000
_MAX_EVALUATIONS_NEARBY = 50
"""From the curve of similar data: what more would gain no interval shows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A statistic and its bootstrap interval; the bounds are None without resamples."""

    value: float
    low: float | None = None
    high: float | None = None

    def told(self, digits: int) -> str:
        """Format the value with `digits` decimals, and the interval if there is one."""
        if self.low is None or self.high is None:
            return f"{self.value:.{digits}f}"
        return f"{self.value:.{digits}f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True, slots=True)
class Logistic:
    """A fitted curve; takes predictions, gives opinions. `betas` are those of x standardised."""

    betas: tuple[float, ...]
    centre: float
    spread: float

    def __call__(self, predictions_N: ArrayLike) -> Values:
        """Return the opinions that the curve expects, shape (N,)."""
        x_N = (np.asarray(predictions_N, np.float64) - self.centre) / self.spread
        return logistic(x_N, *self.betas)


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """Agreement of predictions with opinions.

    Attributes:
        images: those that have both.
        curve: what `plcc` and `rmse` come after.
    """

    images: int
    curve: Logistic
    srcc: Estimate
    krcc: Estimate
    plcc: Estimate
    rmse: Estimate
    plcc_raw: Estimate


STATISTICS = tuple(field.name for field in fields(Agreement) if field.type == "Estimate")
STATISTIC_NAMES = dict(zip(STATISTICS, ("SRCC", "KRCC", "PLCC", "RMSE", "raw PLCC"), strict=True))
"""Their names in tables."""


def fit_logistic(
    predictions_N: ArrayLike, opinions_N: ArrayLike, start: Logistic | None = None
) -> Logistic:
    """Fit by least squares; `start` is the curve of similar data, which saves time.

    The better of two descents, from an S and from a straight line, because either may end in a
    local minimum.
    """
    x_N, y_N = (np.asarray(values, np.float64) for values in (predictions_N, opinions_N))
    centre, spread = (start.centre, start.spread) if start else (float(x_N.mean()), _spread(x_N))
    z_N = (x_N - centre) / spread
    slope = float(np.polyfit(z_N, y_N, 1)[0])
    starts = [
        (float(np.ptp(y_N)), 1.7 if slope >= 0 else -1.7, 0.0, 0.0, float(y_N.mean())),
        (0.1 * float(np.ptp(y_N)), 1.0, 0.0, slope, float(y_N.mean())),
    ]
    if start:
        return Logistic(_descend(z_N, y_N, start.betas, _MAX_EVALUATIONS_NEARBY)[1], centre, spread)
    fits = [_descend(z_N, y_N, betas, _MAX_EVALUATIONS) for betas in starts]
    return Logistic(min(fits)[1], centre, spread)


def measure_agreement(
    predictions: ArrayLike, opinions: ArrayLike, *, resamples: int = 0, seed: int = 0
) -> Agreement:
    """Compute all statistics, with bootstrap intervals over images unless `resamples` is 0.

    Higher predictions and higher opinions have to mean better. Predictions that are not finite are
    left out, and `images` says how many count.

    Raises:
        InputError: with fewer than 8 images, or if all predictions or opinions are equal.
    """
    x_N, y_N = (np.asarray(values, np.float64) for values in (predictions, opinions))
    finite_N = np.isfinite(x_N) & np.isfinite(y_N)
    x_N, y_N = x_N[finite_N], y_N[finite_N]
    if len(x_N) < MIN_IMAGES:
        raise InputError(f"{len(x_N)} images with ratings are too few; {MIN_IMAGES} are needed")
    if np.ptp(x_N) == 0 or np.ptp(y_N) == 0:
        raise InputError("all predictions or all ratings are equal, so there is no correlation")
    curve = fit_logistic(x_N, y_N)
    values = _statistics(x_N, y_N, curve)
    bounds = _bootstrap(x_N, y_N, curve, resamples, seed) if resamples else None
    estimates = {
        name: Estimate(
            value=values[place],
            low=None if bounds is None else float(bounds[0, place]),
            high=None if bounds is None else float(bounds[1, place]),
        )
        for place, name in enumerate(STATISTICS)
    }
    return Agreement(images=len(x_N), curve=curve, **estimates)


def bounds_of(
    statistic: Callable[[NDArray[np.int64]], float], images: int, resamples: int, seed: int = 0
) -> tuple[float | None, float | None]:
    """Bound a statistic of the images at these places by the bootstrap; None without resamples."""
    if not resamples:
        return None, None
    low, high = _bounds(statistic, images, resamples, seed)
    return float(low), float(high)


def _bounds(
    statistic: Callable[[NDArray[np.int64]], float | list[float]],
    images: int,
    resamples: int,
    seed: int,
) -> Values:
    """Bound one or several statistics below and above, shape (2,) or (2, statistics)."""
    random = np.random.default_rng(seed)
    drawn = [statistic(random.integers(0, images, images)) for _ in range(resamples)]
    return np.nanquantile(np.array(drawn, np.float64), _TAILS, axis=0)


def srcc(x_N: Values, y_N: Values) -> float:
    """Compute SRCC; NaN if all values of one side are equal."""
    if np.ptp(x_N) == 0 or np.ptp(y_N) == 0:
        return math.nan
    return float(cast(Any, stats.spearmanr(x_N, y_N)).statistic)


def _statistics(x_N: Values, y_N: Values, curve: Logistic) -> list[float]:
    """Compute the statistics in the order of `STATISTICS`."""
    fitted_N = curve(x_N)
    return [
        srcc(x_N, y_N),
        float(cast(Any, stats.kendalltau(x_N, y_N)).statistic),
        float(np.corrcoef(fitted_N, y_N)[0, 1]),
        float(np.sqrt(np.mean((fitted_N - y_N) ** 2))),
        float(np.corrcoef(x_N, y_N)[0, 1]),
    ]


def _bootstrap(x_N: Values, y_N: Values, curve: Logistic, resamples: int, seed: int) -> Values:
    """Return lower and upper bounds of the statistics, shape (2, statistics), with a new fit of the
    curve."""

    def statistics(places_N: NDArray[np.int64]) -> list[float]:
        x, y = x_N[places_N], y_N[places_N]
        if np.ptp(x) == 0 or np.ptp(y) == 0:
            return [math.nan] * len(STATISTICS)
        return _statistics(x, y, fit_logistic(x, y, curve))

    return _bounds(statistics, len(x_N), resamples, seed)


def logistic(x_N: Values, b1: float, b2: float, b3: float, b4: float, b5: float) -> Values:
    """Compute the curve of five parameters, shape (N,)."""
    return b1 * (special.expit(b2 * (x_N - b3)) - 0.5) + b4 * x_N + b5


def _jacobian(x_N: Values, b1: float, b2: float, b3: float, b4: float, b5: float) -> Values:
    s_N = cast(Values, special.expit(b2 * (x_N - b3)))
    fall_N = b1 * s_N * (1 - s_N)
    columns = (s_N - 0.5, fall_N * (x_N - b3), -b2 * fall_N, x_N, np.ones_like(x_N))
    return np.stack(columns, axis=1)


def _descend(
    x_N: Values, y_N: Values, betas: Sequence[float], evaluations: int
) -> tuple[float, tuple[float, ...]]:
    """Descend, and return squared error and parameters at the end or at the limit of steps."""

    def misses(betas: Values) -> Values:
        return logistic(x_N, *betas) - y_N

    def slopes(betas: Values) -> Values:
        return _jacobian(x_N, *betas)

    fit = cast(
        Any,
        optimize.least_squares(
            misses, betas, jac=cast(Any, slopes), method="lm", max_nfev=evaluations
        ),
    )
    return float(fit.cost), tuple(map(float, fit.x))


def _spread(x_N: Values) -> float:
    return float(x_N.std()) or 1.0
