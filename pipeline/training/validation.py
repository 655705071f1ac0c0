"""How good a model is on held-out photographs with synthetic distortions.

Nothing else may select a checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from torch import Tensor

from pipeline.config import PAPER_PROMPT_PAIRS
from pipeline.training.batches import Batch
from pipeline.training.cues import cues
from pipeline.training.groups import GROUP
from pipeline.training.model import Clip, image_features, text_features
from pipeline.training.objective import in_pairs


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Results over held-out crops.

    Attributes:
        srcc, srcc_sim, srcc_mag: rank correlation of a score with its target, across contents.
        ordered: share of neighbours in a series that are in the right order.
        w_sim, q_sim, q_mag: means.
    """

    srcc: float
    srcc_sim: float
    srcc_mag: float
    ordered: float
    w_sim: float
    q_sim: float
    q_mag: float

    @property
    def score(self) -> float:
        """What a checkpoint is selected by."""
        return self.srcc + self.ordered


@torch.no_grad()
def validate(model: Clip, exam: Sequence[Batch]) -> Validation:
    """Score every crop of the batches, in evaluation mode."""
    model.eval()
    text_P2D = in_pairs(
        text_features(model, [text for pair in PAPER_PROMPT_PAIRS for text in pair])
    )
    scale = model.logit_scale.exp()
    scored = [cues(image_features(model, batch.crops), text_P2D, scale).scores for batch in exam]
    quality = _joined([scores.quality for scores in scored])
    q_sim = _joined([scores.q_sim for scores in scored])
    q_mag = _joined([scores.q_mag for scores in scored])
    wanted = _joined([batch.quality for batch in exam])
    series_G4 = quality.reshape(-1, GROUP)[:, : GROUP - 1]
    return Validation(
        srcc=rank_correlation(quality, wanted),
        srcc_sim=rank_correlation(q_sim, wanted),
        srcc_mag=rank_correlation(q_mag, wanted),
        ordered=float((np.diff(series_G4, axis=1) < 0.0).mean()),
        w_sim=float(_joined([scores.w_sim for scores in scored]).mean()),
        q_sim=float(q_sim.mean()),
        q_mag=float(q_mag.mean()),
    )


def rank_correlation(a: ArrayLike, b: ArrayLike) -> float:
    """Spearman's correlation of two rows of N numbers."""
    return float(cast(Any, stats.spearmanr(a, b)).statistic)


def _joined(parts: list[Tensor]) -> NDArray[np.float64]:
    return torch.cat(parts).double().numpy()
