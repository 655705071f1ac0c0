"""CLIP's image tower on a device: crops in, image features out.

Shapes in names: N crops, S = 224, D feature values, P prompt pairs, Q those of attributes.
"""

from __future__ import annotations

import math
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor

from shardsift.config import Attributes, CropPlan, Dtype, ScoreConfig
from shardsift.records import RgbImage
from shardsift.scoring.clip import ClipModel, load_clip
from shardsift.scoring.crops import cut_crops
from shardsift.scoring.devices import decide_dtype
from shardsift.scoring.maclip import attribute_values
from shardsift.scoring.tower import build_tower
from shardsift.threads import keep_heap

CPU_BATCH: dict[Dtype, int] = {"float32": 16, "bfloat16": 32, "float16": 32}
"""Crops that a CPU encodes at a time; more gain little, and their feature maps fill memory."""


class Encoder:
    """A CLIP that is ready to turn crops into features.

    Attributes:
        text_P2D: unit text features of the prompts, float32, good prompt of each pair first.
        attributes: what else is asked.
        logit_scale: the factor on cosines.
        crops_at_a_time: crops of a call on a CPU, at most; None on a GPU, which takes all.
        digest: hash of the model config, its own mean and std, and all weights, whatever their path
            and file format.
    """

    def __init__(self, config: ScoreConfig, device: str, model: ClipModel | None = None) -> None:
        """Load the model, unless it is given, onto `device` (`cpu`, `cuda`).

        Raises:
            ModelError: if the weights can't be had, or can't be used as is asked for.
            DeviceError: if the device isn't there, or hasn't the dtype.
        """
        dtype = decide_dtype(config, device).decided_dtype
        model = model or load_clip(config)
        self.digest: str = model.digest
        self.logit_scale: float = model.logit_scale
        self.device: torch.device = torch.device(device)
        if self.device.type == "cuda":
            cudnn = torch.backends.cudnn
            cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32 = True, False, False
        self.crops_at_a_time: int | None = None
        if self.device.type == "cpu":
            self.crops_at_a_time = CPU_BATCH[dtype]
            keep_heap()
        visual = deepcopy(model.visual)  # it is taken apart below
        tower = build_tower(visual, model.feature_values, dtype, self.device)
        self._tower = tower.to(self.device)
        self.text_P2D: Tensor = model.text_P2D.to(self.device)
        self.attributes: Attributes = model.attributes
        self._text_Q2D = None if model.text_Q2D is None else model.text_Q2D.to(self.device)
        self._scale_311 = model.scale_311.to(self.device)
        self._shift_311 = model.shift_311.to(self.device)

    @torch.inference_mode()
    def encode(self, crops_N3SS: Tensor) -> Tensor:
        """Encode crops of 0..255 to image features before normalisation: float32, shape (N, D)."""
        parts = math.ceil(len(crops_N3SS) / (self.crops_at_a_time or len(crops_N3SS)))
        return torch.cat([self._tower(self._normalise(part)) for part in crops_N3SS.chunk(parts)])

    def answers(self, features_ND: Tensor) -> list[Tensor]:
        """Compute the attributes of features, 0..1, shape (N,) each; none if nothing is asked."""
        if self._text_Q2D is None:
            return []
        pairs_A = [len(pairs) for pairs in self.attributes.values()]
        return attribute_values(features_ND, self._text_Q2D, pairs_A, self.logit_scale)

    def _normalise(self, pixels_N3HW: Tensor) -> Tensor:
        return torch.addcmul(self._shift_311, pixels_N3HW.to(self.device), self._scale_311)


MIN_BATCH = 2
"""A lone crop would take other convolution kernels, whose rounding shows at 1e-6."""


@torch.inference_mode()
def encode_views(encoder: Encoder, image: RgbImage, plan: CropPlan) -> Tensor:
    """Encode all views of an image, before normalisation: float32, shape (M, D), on the device."""
    pixels_HW3 = torch.from_numpy(np.require(image, requirements=["C", "W"])).to(encoder.device)
    crops = [crop.float() for crop in cut_crops(pixels_HW3, plan)]
    padded_N = crops * (MIN_BATCH if len(crops) < MIN_BATCH else 1)
    return encoder.encode(torch.stack(padded_N).permute(0, 3, 1, 2))[: len(crops)]
