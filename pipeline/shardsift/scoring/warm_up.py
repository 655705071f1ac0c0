"""A first batch, before a device is trusted with a corpus.

Shapes in names: K pictures, S = 224, D feature values.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
import numpy.typing as npt
import torch

from shardsift.config import Dtype, ScoreConfig
from shardsift.errors import DeviceError, ModelError
from shardsift.records import RgbImage
from shardsift.scoring.clip import ClipModel
from shardsift.scoring.crops import CROP_SIZE
from shardsift.scoring.scorer import Scorer

_PICTURES = 4
_TOLERANCE: dict[Dtype, float] = {"float32": 0.001, "bfloat16": 0.1, "float16": 0.1}
"""Five times the measured differences, for scores and features; broken devices differ by far more.
"""

Values = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class WarmUp:
    """Features and scores of the warm-up pictures on a CPU in float32."""

    features_KD: Values
    qualities_K: Values


def rehearse(config: ScoreConfig, model: ClipModel) -> WarmUp:
    """Compute the warm-up's expected results. Raises ModelError if the model can't encode it."""
    scorer = Scorer(config.model_copy(update={"dtype": "float32"}), loaded=model)
    try:
        return WarmUp(features_KD=_features(scorer), qualities_K=_qualities(scorer, _PICTURES))
    except (RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"--model {config.model}: its image tower can't encode pictures of "
            f"{CROP_SIZE}x{CROP_SIZE}: {reason}"
        ) from error


def warm_up(scorer: Scorer, expected: WarmUp) -> None:
    """Score a full batch of pictures whose features and qualities are known.

    Raises:
        DeviceError: if one isn't finite, or far from the expected value.
    """
    features_KD, qualities = _features(scorer), _qualities(scorer, scorer.batch_size)
    dtype = scorer.config.decided_dtype
    if not (np.isfinite(features_KD).all() and np.isfinite(qualities).all()):
        raise DeviceError(
            f"{scorer.config.model} gives values that are not finite in {dtype}; choose another "
            "--dtype, or other weights"
        )
    lengths_K = np.linalg.norm(expected.features_KD, axis=1)
    off_K = np.linalg.norm(features_KD - expected.features_KD, axis=1) / lengths_K
    off = np.abs(qualities - np.resize(expected.qualities_K, len(qualities)))
    farthest = float(max(off_K.max(), off.max()))
    if farthest > _TOLERANCE[dtype]:
        raise DeviceError(
            f"features or scores differ by {farthest:.2g} from a CPU's, in {dtype}, where "
            f"{_TOLERANCE[dtype] / 5:g} is usual: this device or its driver is broken"
        )


def _features(scorer: Scorer) -> Values:
    crops_KSS3 = torch.from_numpy(np.stack(_make_pictures())).float()
    return scorer.encoder.encode(crops_KSS3.permute(0, 3, 1, 2)).cpu().numpy()


def _qualities(scorer: Scorer, pictures: int) -> Values:
    images = islice(cycle(_make_pictures()), pictures)
    return np.array([score.quality for score in scorer.score(images)], np.float32)


def _make_pictures() -> list[RgbImage]:
    """Make noise of several coarsenesses, for the features of a picture to differ."""
    random = np.random.default_rng(0)
    sides = [CROP_SIZE >> (2 * number) for number in range(_PICTURES)]
    return [
        random.integers(0, 256, (side, side, 3), np.uint8)
        .repeat(-(-CROP_SIZE // side), axis=0)
        .repeat(-(-CROP_SIZE // side), axis=1)[:CROP_SIZE, :CROP_SIZE]
        for side in sides
    ]
