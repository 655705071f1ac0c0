"""BRISQUE, as a baseline that knows nothing of pictures' content."""

from __future__ import annotations

import math
import warnings
from typing import Any, cast

import numpy as np
from scipy import ndimage

from shardsift.errors import ConfigError
from shardsift.records import RgbImage


class Brisque:
    """BRISQUE with the parameters that the package `brisque` carries, negated.

    Mittal, Moorthy and Bovik, "No-reference image quality assessment in the spatial domain",
    IEEE TIP 2012. Its support vector machine was trained on human opinions of distorted
    photographs; MA-CLIP has seen none.
    """

    def __init__(self) -> None:
        """Load the parameters. Raises ConfigError if the package is missing."""
        try:
            from brisque import BRISQUE  # compiles a C++ library when it is installed
        except ImportError as error:
            raise ConfigError(
                "BRISQUE needs a package: pip install brisque, or --no-brisque"
            ) from error
        self._brisque = cast(Any, BRISQUE)(url=False)
        scale = self._brisque.scale_features

        def scale_features(features: Any) -> Any:
            # numpy 2.4 refuses to take arrays of one value, which these are, for numbers
            return scale([np.asarray(value, np.float64).item() for value in features])

        # Its Gaussian is separable, and nine tenths of its time go into not making use of that.
        self._brisque.scale_features = scale_features
        self._brisque.local_mean = _blur
        self._brisque.local_deviation = lambda image, mean, kernel: np.sqrt(  # pyright: ignore[reportUnknownLambdaType]
            np.abs(mean**2 - _blur(image**2, kernel))
        )

    def __call__(self, image: RgbImage) -> float:
        """Return the negated score; NaN if it has none, as for an image of one colour."""
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)
            try:
                return -float(self._brisque.score(image))
            except (ValueError, ArithmeticError):  # no distribution fits such an image
                return float("nan")


def _blur(image_HW: Any, kernel_KK: Any) -> Any:
    """Convolve as `scipy.signal.convolve2d(…, "same")`, with a kernel that is an outer product."""
    kernel_K = kernel_KK.sum(axis=0) / math.sqrt(kernel_KK.sum())
    rows_HW = ndimage.convolve1d(image_HW, kernel_K, axis=0, mode="constant")
    return ndimage.convolve1d(rows_HW, kernel_K, axis=1, mode="constant")
