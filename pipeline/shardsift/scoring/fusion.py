"""Convolutions that add and activate as they write, for bfloat16 on CPUs.

In passes of their own both cost 7 to 8 % of RN50's time in bfloat16, and less than 3 % in float32,
which therefore goes without. torch has these calls of oneDNN for `torch.compile`, which makes no
more of the tower, and takes a C++ compiler and half a minute. They are not public: versions of
torch that they weren't tried with go without, too.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from shardsift.config import Dtype


def can_fuse(dtype: Dtype) -> bool:
    """Tell whether this CPU and this torch have the calls, and a dtype gains by them."""
    tried = torch.__version__ >= "2.14" and torch.__version__ < "2.15"
    if dtype != "bfloat16" or not tried or not torch.backends.mkldnn.is_available():
        return False
    return bool(_onednn()._is_mkldnn_bf16_supported())


class ActivatedConvolution(nn.Module):
    """A convolution and the ReLU behind it."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, x: Tensor) -> Tensor:
        return _onednn()._convolution_pointwise(x, *_arguments(self.convolution), "relu", [], "")


class ResidualBlock(nn.Module):
    """A bottleneck of CLIP's ResNet whose batch norms are folded. Overwrites what it is given."""

    def __init__(self, bottleneck: nn.Module) -> None:
        super().__init__()
        parts = cast(Any, bottleneck)
        self.before = nn.Sequential(
            ActivatedConvolution(parts.conv1), ActivatedConvolution(parts.conv2), parts.avgpool
        )
        self.last: nn.Conv2d = parts.conv3
        self.shortcut: nn.Module = parts.downsample or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        branch = self.before(x)
        add_to = _onednn()._convolution_pointwise_.binary
        return add_to(self.shortcut(x), branch, *_arguments(self.last), "add", 1.0, "relu", [], "")


def fused_stages(resnet: nn.Module) -> list[nn.Module]:
    """Fuse the stem and layers of CLIP's modified ResNet whose batch norms are folded."""
    parts = cast(Any, resnet)
    stem = map(ActivatedConvolution, (parts.conv1, parts.conv2, parts.conv3))
    layers = parts.layer1, parts.layer2, parts.layer3, parts.layer4
    fused_layers = (nn.Sequential(*map(ResidualBlock, layer)) for layer in layers)
    return [nn.Sequential(*stem, parts.avgpool), *fused_layers]


def _arguments(convolution: nn.Conv2d) -> tuple[Any, ...]:
    c = convolution
    return c.weight, c.bias, c.padding, c.stride, c.dilation, c.groups


def _onednn() -> Any:
    return cast(Any, torch.ops).mkldnn
