"""Convolutions that add and activate as they write.

On an H200, in passes of their own, they take 43 % of the time of bfloat16 and a fifth of that of
float32. Average pools take another fifth of bfloat16's: there they become part of the convolutions
behind them. On CPUs all of it is 3 to 8 %, and torch has no public calls for it: they go without.
"""

from __future__ import annotations

import logging
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)


class Kernels(Protocol):
    """Who convolves."""

    def activated(self, x: Tensor, convolution: nn.Conv2d) -> Tensor:
        """Convolve, and apply ReLU."""
        ...

    def added(self, x: Tensor, convolution: nn.Conv2d, other: Tensor) -> Tensor:
        """Convolve, add, and apply ReLU; `other` may be overwritten."""
        ...


class CuDnn:
    """Kernels of NVIDIA's GPUs."""

    def activated(self, x: Tensor, convolution: nn.Conv2d) -> Tensor:
        """Convolve, and apply ReLU."""
        c = convolution
        return torch.cudnn_convolution_relu(x, c.weight, c.bias, *self._settings(c))

    def added(self, x: Tensor, convolution: nn.Conv2d, other: Tensor) -> Tensor:
        """Convolve, add, and apply ReLU."""
        c = convolution
        settings = self._settings(c)
        return torch.cudnn_convolution_add_relu(x, c.weight, other, 1.0, c.bias, *settings)

    def _settings(self, c: nn.Conv2d) -> tuple[Any, ...]:
        return c.stride, c.padding, c.dilation, c.groups


class ActivatedConvolution(nn.Module):
    """A convolution and the ReLU behind it."""

    def __init__(self, convolution: nn.Conv2d, kernels: Kernels) -> None:
        super().__init__()
        self.convolution = convolution
        self._kernels = kernels

    def forward(self, x: Tensor) -> Tensor:
        return self._kernels.activated(x, self.convolution)


class ResidualBlock(nn.Module):
    """A bottleneck of CLIP's ResNet with folded batch norms. May overwrite what it is given."""

    def __init__(self, bottleneck: nn.Module, kernels: Kernels) -> None:
        super().__init__()
        parts = cast(Any, bottleneck)
        first, second = (ActivatedConvolution(c, kernels) for c in (parts.conv1, parts.conv2))
        self.before = nn.Sequential(first, second, parts.avgpool)
        self.last: nn.Conv2d = parts.conv3
        self.shortcut: nn.Module = parts.downsample or nn.Identity()
        self._kernels = kernels

    def forward(self, x: Tensor) -> Tensor:
        branch = self.before(x)
        return self._kernels.added(branch, self.last, self.shortcut(x))


def find_kernels(device: torch.device) -> Kernels | None:
    """Find the kernels that this device and this torch have."""
    has_cudnn = torch.version.cuda and torch.backends.cudnn.is_available()
    return if_they_work(CuDnn(), device) if device.type == "cuda" and has_cudnn else None


def if_they_work(kernels: Kernels, device: torch.device) -> Kernels | None:
    """Try kernels, and return them unless they fail: not every card and library has them.

    They aren't timed: actors of one run might choose differently then, and round differently.
    """
    convolution = nn.Conv2d(64, 64, 1, device=device).requires_grad_(False)
    x_1CHW = torch.ones(1, 64, 8, 8, device=device)
    try:
        kernels.added(kernels.activated(x_1CHW, convolution), convolution, x_1CHW)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        logger.warning("convolutions go without their ReLU, which is slower: %s", error)
        return None
    return kernels


def fused_stages(resnet: nn.Module, kernels: Kernels) -> list[nn.Module]:
    """Fuse the stem and layers of CLIP's modified ResNet whose batch norms are folded."""
    parts = cast(Any, resnet)
    stem = (ActivatedConvolution(c, kernels) for c in (parts.conv1, parts.conv2, parts.conv3))
    layers = (
        nn.Sequential(*(ResidualBlock(block, kernels) for block in layer))
        for layer in (parts.layer1, parts.layer2, parts.layer3, parts.layer4)
    )
    return [nn.Sequential(*stem, parts.avgpool), *layers]


def merge_into_convolutions(resnet: nn.Module) -> nn.Module:
    """Give the work of average pools, and of the shortcuts' biases, to convolutions.

    Both are passes over memory, which a GPU has less time for than for the products: a pool and the
    1x1 convolution behind it become one of 2x2 at stride 2 with a quarter of the weights.
    """
    parts = cast(Any, resnet)
    pool, parts.avgpool = parts.avgpool, nn.Identity()
    for layer in (parts.layer1, parts.layer2, parts.layer3, parts.layer4):
        first = layer[0]
        first.conv1 = _behind(pool, first.conv1)
        first.conv3 = _behind(first.avgpool, first.conv3)
        first.avgpool = nn.Identity()
        own_pool, convolution, *_ = first.downsample
        shortcut = _behind(pool, _behind(own_pool, convolution))
        biases = cast(Tensor, first.conv3.bias), cast(Tensor, shortcut.bias)
        first.conv3.bias, shortcut.bias = nn.Parameter(torch.add(*biases)), None
        first.downsample = shortcut
        pool = nn.Identity()
    return resnet.requires_grad_(False)


def _behind(pool: nn.Module, convolution: nn.Conv2d) -> nn.Conv2d:
    """Make one convolution of an average pool and the 1x1 convolution behind it."""
    side = cast(int, pool.kernel_size) if isinstance(pool, nn.AvgPool2d) else 1
    if side == 1:
        return convolution
    c = convolution
    merged = nn.Conv2d(c.in_channels, c.out_channels, side, stride=side)
    merged.weight = nn.Parameter((c.weight / side**2).repeat(1, 1, side, side))
    merged.bias = c.bias
    return merged
