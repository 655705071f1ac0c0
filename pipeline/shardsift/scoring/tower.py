"""A CLIP image tower with the same results and fewer operations.

In convolutional towers, batch norms are merged into the convolutions before them, attention pooling
computes only the query that is used, and 16-bit arithmetic is used where it stays within the
tolerance.

On a GPU, ReLUs and additions are fused into the convolutions, too: on an H200, separate passes take
43 % of the time in bfloat16 and a fifth in float32. Average pools take another fifth in bfloat16.
On CPUs, all of these are 3 to 8 %, and torch has no public calls to fuse them.

Shapes in names: N crops, C channels, H x W places of a feature map, L = H * W + 1 tokens, D feature
values, A heads, K values a head.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Any, Final, Protocol, cast

import torch
from timm.models import EfficientNet
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from shardsift.config import Dtype

logger: Final = logging.getLogger(__name__)


class Kernels(Protocol):
    """Implementation of the convolutions."""

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
        """Convolve and activate maps, shape (N, C, H, W)."""
        return self._kernels.activated(x, self.convolution)


class ResidualBlock(nn.Module):
    """A bottleneck of CLIP's ResNet with folded batch norms. May overwrite its input."""

    def __init__(self, bottleneck: nn.Module, kernels: Kernels) -> None:
        super().__init__()
        parts = cast(Any, bottleneck)
        first, second = (ActivatedConvolution(c, kernels) for c in (parts.conv1, parts.conv2))
        self.before: nn.Sequential = nn.Sequential(first, second, parts.avgpool)
        self.last: nn.Conv2d = parts.conv3
        self.shortcut: nn.Module = parts.downsample or nn.Identity()
        self._kernels = kernels

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch to its shortcut, shape (N, C, H, W)."""
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
        logger.warning("ReLUs can't be fused into convolutions, which is slower: %s", error)
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
    """Merge average pools, and the biases of shortcuts, into convolutions.

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


_DTYPES: dict[Dtype, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
_BFLOAT16_AVERAGED = 2**15
"""From here on a stage bears bfloat16, whose eight significant bits are few: the channels of its
feature map times the feature values, for its rounding averages out over both."""


class ImageTower(nn.Module):
    """Any image tower of open_clip, as float32 in and float32 out."""

    def __init__(self, visual: nn.Module, dtype: Dtype) -> None:
        super().__init__()
        self._visual = _in_dtype(visual, _DTYPES[dtype])

    def forward(self, pixels_N3HW: Tensor) -> Tensor:
        """Encode pixels to features, shape (N, D)."""
        return self._visual(pixels_N3HW)


class ConvolutionalTower(nn.Module):
    """A tower in two parts: convolutions, then pooling of their feature map.

    Attributes:
        trunk: pixels, shape (N, 3, H, W), to a feature map 32 times smaller, float32.
        pool: a feature map of any size to features, shape (N, D), float32.
    """

    def __init__(
        self,
        stages: Sequence[nn.Module],
        pool: nn.Module,
        feature_values: int,
        dtype: Dtype,
        layout: torch.memory_format = torch.channels_last,
    ) -> None:
        """Take over the stages of the trunk, first to last, and the pooling."""
        super().__init__()
        self.trunk: nn.Sequential = nn.Sequential(*_in_dtypes(stages, feature_values, dtype))
        self.trunk.to(memory_format=layout)
        if layout != torch.channels_last:  # pixels come channels-last
            self.trunk.insert(0, _Planes())
        self.pool = pool

    def forward(self, pixels_N3HW: Tensor) -> Tensor:
        """Encode pixels to features, shape (N, D)."""
        return self.pool(self.trunk(pixels_N3HW))


class _Planes(nn.Module):
    """Puts channels one behind the other."""

    def forward(self, x: Tensor) -> Tensor:
        return x.contiguous()


class MeanQueryPool(nn.Module):
    """CLIP's attention pooling, for the only query whose answer is used: the mean of all places.

    open_clip projects every place to a query, a key and a value. Here the query goes through the
    key projection instead, and the average of the places through the value projection: the same
    products in another order, a fiftieth of the work. Keys need no bias, which adds the same to
    all places of a head.
    """

    def __init__(self, pooling: nn.Module) -> None:
        super().__init__()
        parts = cast(Any, pooling)
        self._heads: int = parts.num_heads
        self._position_LC: Tensor = parts.positional_embedding
        self._query, self._output = parts.q_proj, parts.c_proj
        self._key_weight_CC: Tensor = parts.k_proj.weight
        self._value_weight_CC: Tensor = parts.v_proj.weight
        self._value_bias_C: Tensor = parts.v_proj.bias

    def forward(self, map_NCHW: Tensor) -> Tensor:
        """Pool a map to one feature an image, shape (N, D)."""
        tokens_NLC = map_NCHW.flatten(2).transpose(1, 2)
        tokens_NLC = torch.cat([tokens_NLC.mean(dim=1, keepdim=True), tokens_NLC], dim=1)
        tokens_NLC = tokens_NLC + self._position_LC
        query_NAK = self._query(tokens_NLC[:, 0]).unflatten(1, (self._heads, -1))
        key_weight_AKC = self._key_weight_CC.unflatten(0, (self._heads, -1))
        value_weight_AKC = self._value_weight_CC.unflatten(0, (self._heads, -1))
        key_NAC = torch.einsum("nak,akc->nac", query_NAK, key_weight_AKC)
        logits_NAL = key_NAC @ tokens_NLC.transpose(1, 2) * query_NAK.shape[2] ** -0.5
        mean_NAC = functional.softmax(logits_NAL, dim=-1) @ tokens_NLC
        value_NAK = torch.einsum("nac,akc->nak", mean_NAC, value_weight_AKC)
        return self._output(value_NAK.flatten(1) + self._value_bias_C)


def build_tower(
    visual: nn.Module, feature_values: int, dtype: Dtype, device: torch.device
) -> ImageTower | ConvolutionalTower:
    """Build a fast tower of the parts of open_clip's, which computes the same."""
    parts = cast(Any, visual)
    if hasattr(visual, "attnpool"):
        _fold_batch_norms(visual)
        stages = _fast_stages(visual, dtype, device) or _resnet_stages(parts)
        pool = MeanQueryPool(parts.attnpool)
        # CUDA's float32 kernels take planes, and would convert every feature map twice.
        takes_planes = device.type == "cuda" and dtype == "float32"
        layout = torch.contiguous_format if takes_planes else torch.channels_last
        return ConvolutionalTower(stages, pool, feature_values, dtype, layout)
    if isinstance(getattr(visual, "trunk", None), EfficientNet):
        _fold_batch_norms(parts.trunk)
        trunk = parts.trunk
        stem = nn.Sequential(trunk.conv_stem, trunk.bn1)
        stages = [stem, *trunk.blocks, nn.Sequential(trunk.conv_head, trunk.bn2)]
        pool = nn.Sequential(parts.trunk.global_pool, parts.head)
        return ConvolutionalTower(stages, pool, feature_values, dtype)
    return ImageTower(visual, dtype)


def _fast_stages(resnet: nn.Module, dtype: Dtype, device: torch.device) -> list[nn.Module] | None:
    """List the stages of CLIP's modified ResNet with fused kernels, if there are any."""
    kernels = find_kernels(device)
    if kernels is None:
        return None
    is_bound_by_memory = device.type == "cuda" and dtype != "float32"
    return fused_stages(merge_into_convolutions(resnet) if is_bound_by_memory else resnet, kernels)


def _resnet_stages(visual: Any) -> list[nn.Module]:
    """List the stages of CLIP's modified ResNet."""
    stem = [visual.conv1, visual.bn1, visual.act1, visual.conv2, visual.bn2, visual.act2]
    stem += [visual.conv3, visual.bn3, visual.act3, visual.avgpool]
    return [nn.Sequential(*stem), visual.layer1, visual.layer2, visual.layer3, visual.layer4]


class _InDtype(nn.Module):
    """A module that computes in another dtype, between float32 in and float32 out."""

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self._module = module.to(dtype)
        self._dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        return self._module(x.to(self._dtype)).float()


def _in_dtype(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    return module if dtype == torch.float32 else _InDtype(module, dtype)


def _in_dtypes(
    stages: Sequence[nn.Module], feature_values: int, dtype: Dtype
) -> Iterator[nn.Module]:
    """Put each stage in its dtype; neighbours of one dtype become one, which saves conversions."""
    dtype_of = partial(_stage_dtype, feature_values=feature_values, dtype=dtype)
    for own_dtype, alike in groupby(stages, key=dtype_of):
        yield _in_dtype(nn.Sequential(*alike), own_dtype)


def _stage_dtype(stage: nn.Module, *, feature_values: int, dtype: Dtype) -> torch.dtype:
    """Choose the dtype of a stage: bfloat16 only if its rounding averages out."""
    *_, last = (conv.out_channels for conv in stage.modules() if isinstance(conv, nn.Conv2d))
    narrow = last * feature_values < _BFLOAT16_AVERAGED
    return torch.float32 if dtype == "bfloat16" and narrow else _DTYPES[dtype]


def _fold_batch_norms(module: nn.Module) -> None:
    """Fold batch norms into the convolutions before them.

    Nearly twice as fast on CPUs, where a batch norm costs as much as a small convolution. Folded
    in float64: in float32 the rounding of the weights shows at 1e-5.
    """
    conv, conv_name = None, ""
    for name, part in list(module.named_children()):
        if isinstance(part, nn.BatchNorm2d):
            assert conv is not None, f"no convolution before {name}"
            setattr(module, conv_name, fuse_conv_bn_eval(conv.double(), part.double()).float())
            # timm's norms include the activation
            setattr(module, name, getattr(part, "act", nn.Identity()))
        _fold_batch_norms(part)
        conv, conv_name = (part, name) if isinstance(part, nn.Conv2d) else (None, "")
