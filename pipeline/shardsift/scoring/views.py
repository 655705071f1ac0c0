"""The features of one image's views, for whoever wants features and not throughput.

Shapes in names: H height, W width, M views in crop order, D feature values, S = 224.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from shardsift.config import CropPlan
from shardsift.records import RgbImage
from shardsift.scoring.crops import cut_crops
from shardsift.scoring.encoder import Encoder

MIN_BATCH = 2
"""A lone crop would take other convolution kernels, whose rounding shows at 1e-6."""


@torch.inference_mode()
def encode_views(encoder: Encoder, image: RgbImage, plan: CropPlan) -> Tensor:
    """Encode all views of an image, before normalisation: float32, shape (M, D), on the device."""
    pixels_HW3 = torch.from_numpy(np.require(image, requirements=["C", "W"])).to(encoder.device)
    crops = [crop.float() for crop in cut_crops(pixels_HW3, plan)]
    padded_N = crops * (MIN_BATCH if len(crops) < MIN_BATCH else 1)
    return encoder.encode(torch.stack(padded_N).permute(0, 3, 1, 2))[: len(crops)]
