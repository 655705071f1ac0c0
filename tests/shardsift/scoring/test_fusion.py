"""Fewer passes over memory, the same features."""

from __future__ import annotations

import copy

import pytest
import torch
from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor, nn
from torch.nn import functional

from shardsift.scoring.tower import (
    ConvolutionalTower,
    build_tower,
    fused_stages,
    if_they_work,
    merge_into_convolutions,
)


class Plain:
    """In place of kernels that this machine may lack."""

    def activated(self, x: Tensor, convolution: nn.Conv2d) -> Tensor:
        return functional.relu(convolution(x))

    def added(self, x: Tensor, convolution: nn.Conv2d, other: Tensor) -> Tensor:
        return functional.relu(convolution(x) + other)


def make_resnet() -> nn.Module:
    torch.manual_seed(0)
    resnet = ModifiedResNet([2, 2, 1, 1], 32, heads=4, width=16)
    for part in resnet.modules():
        if isinstance(part, nn.BatchNorm2d):  # as if it had been trained
            for values in part.parameters():
                nn.init.normal_(values, 1, 0.3)
    return resnet.eval().requires_grad_(False)


@torch.inference_mode()
@pytest.mark.parametrize("side", [224, 255, 448])
def test_pools_and_biases_go_into_convolutions_and_nothing_changes(side: int) -> None:
    visual = make_resnet()
    pixels_23HW = torch.randn(2, 3, side, side)
    plain = build_tower(copy.deepcopy(visual), 32, "float32", torch.device("cpu"))
    assert isinstance(plain, ConvolutionalTower)
    expected = plain.trunk(pixels_23HW)
    folded = copy.deepcopy(visual)
    build_tower(folded, 32, "float32", torch.device("cpu"))  # folds its batch norms in place
    fused = nn.Sequential(*fused_stages(merge_into_convolutions(folded), Plain()))
    assert not any(isinstance(part, nn.AvgPool2d) for part in fused.modules())
    found = fused(pixels_23HW)
    assert found.shape == expected.shape
    error = (found - expected).norm() / expected.norm()
    assert error < 1e-6


class Missing(Plain):
    """Kernels that a card hasn't."""

    def added(self, x: Tensor, convolution: nn.Conv2d, other: Tensor) -> Tensor:
        raise RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED")


def test_kernels_that_fail_are_left_out_and_that_is_told(caplog: pytest.LogCaptureFixture) -> None:
    cpu = torch.device("cpu")
    works = Plain()
    assert if_they_work(works, cpu) is works
    assert if_they_work(Missing(), cpu) is None
    assert "which is slower: cuDNN error: CUDNN_STATUS_NOT_SUPPORTED" in caplog.text
