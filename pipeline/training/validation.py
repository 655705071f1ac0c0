"""How good a model is on held-out photographs with synthetic distortions.

Nothing else may select a checkpoint.

Shapes in names: N crops, G groups, P photographs, K kinds of distortion, 5 levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from torch import Tensor

from pipeline.config import PAPER_PROMPT_PAIRS
from pipeline.images import decode_rgb
from pipeline.scoring.maclip import CropScores
from pipeline.training.batches import Batch
from pipeline.training.cues import cues
from pipeline.training.distortions import LEVELS
from pipeline.training.groups import GROUP
from pipeline.training.model import Clip, image_features, text_features
from pipeline.training.objective import in_pairs
from pipeline.training.photos import MAX_PIXELS, padded
from pipeline.training.unseen import UNSEEN

_CHUNK: Final = 60
"""Crops encoded at a time."""


@dataclass(frozen=True, kw_only=True)
class Exam:
    """What to validate on.

    Attributes:
        seen: batches as in training, of held-out photographs.
        unseen: their middles at the levels of distortions that training never sees: uint8, shape
            (K * P * 5, 3, side, side), the level changing fastest, then the photograph.
        unseen_photos: P.
    """

    seen: Sequence[Batch]
    unseen: Tensor
    unseen_photos: int


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Results over held-out crops.

    Attributes:
        srcc, srcc_sim, srcc_mag: rank correlation of a score with its target, across contents.
        ordered: share of neighbours in a series that are in the right order.
        unseen_srcc: rank correlation of quality and level across contents, mean over the
            distortions that training never sees.
        unseen_ordered: share of neighbours among their levels that are in the right order.
        w_sim, q_sim, q_mag: means.
    """

    srcc: float
    srcc_sim: float
    srcc_mag: float
    ordered: float
    unseen_srcc: float
    unseen_ordered: float
    w_sim: float
    q_sim: float
    q_mag: float

    @property
    def score(self) -> float:
        """What a checkpoint is selected by."""
        return self.unseen_srcc + self.unseen_ordered


def make_exam(seen: Sequence[Batch], photos: Sequence[bytes], side: int) -> Exam:
    """An exam whose unseen distortions are done to the middles of the photographs."""
    middles = [_middle(data, side) for data in photos]
    crops = [
        distort(middle, level, np.random.default_rng([number, place]))
        for number, distort in enumerate(UNSEEN.values())
        for place, middle in enumerate(middles)
        for level in LEVELS
    ]
    unseen = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
    return Exam(seen=seen, unseen=unseen, unseen_photos=len(middles))


@torch.no_grad()
def validate(model: Clip, exam: Exam) -> Validation:
    """Score every crop of the exam."""
    text_P2D = in_pairs(
        text_features(model, [text for pair in PAPER_PROMPT_PAIRS for text in pair])
    )
    scale = model.logit_scale.exp()

    def score(crops_N3SS: Tensor) -> CropScores:
        return cues(image_features(model, crops_N3SS), text_P2D, scale).scores

    scored = [score(batch.crops) for batch in exam.seen]
    quality = _joined([scores.quality for scores in scored])
    q_sim = _joined([scores.q_sim for scores in scored])
    q_mag = _joined([scores.q_mag for scores in scored])
    wanted = _joined([batch.quality for batch in exam.seen])
    series_G4 = quality.reshape(-1, GROUP)[:, : GROUP - 1]
    unseen = _joined([score(chunk).quality for chunk in exam.unseen.split(_CHUNK)])
    unseen_KP5 = unseen.reshape(len(UNSEEN), exam.unseen_photos, len(LEVELS))
    return Validation(
        srcc=rank_correlation(quality, wanted),
        srcc_sim=rank_correlation(q_sim, wanted),
        srcc_mag=rank_correlation(q_mag, wanted),
        ordered=_in_order(series_G4),
        unseen_srcc=float(np.mean([_falls_with_level(values_P5) for values_P5 in unseen_KP5])),
        unseen_ordered=_in_order(unseen_KP5),
        w_sim=float(_joined([scores.w_sim for scores in scored]).mean()),
        q_sim=float(q_sim.mean()),
        q_mag=float(q_mag.mean()),
    )


def rank_correlation(a: ArrayLike, b: ArrayLike) -> float:
    """Spearman's correlation of two rows of N numbers."""
    return float(cast(Any, stats.spearmanr(a, b)).statistic)


def _falls_with_level(quality_P5: NDArray[np.float64]) -> float:
    levels_P5 = np.broadcast_to(LEVELS, quality_P5.shape)
    return -rank_correlation(quality_P5.ravel(), levels_P5.ravel())


def _in_order(series: NDArray[np.float64]) -> float:
    """Share of neighbours along the last axis that fall."""
    return float((np.diff(series, axis=-1) < 0.0).mean())


def _middle(data: bytes, side: int) -> NDArray[np.uint8]:
    photo = padded(decode_rgb(data, MAX_PIXELS), side, side)
    top, left = ((length - side) // 2 for length in photo.shape[:2])
    return np.ascontiguousarray(photo[top : top + side, left : left + side])


def _joined(parts: list[Tensor]) -> NDArray[np.float64]:
    return torch.cat(parts).double().numpy()
