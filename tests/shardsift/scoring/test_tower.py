"""Where a tower computes in which dtype."""

from __future__ import annotations

import pytest
import torch
from open_clip.modified_resnet import ModifiedResNet
from torch import nn

from shardsift.config import Dtype
from shardsift.scoring.tower import build_tower

CPU = torch.device("cpu")


def make_resnet(width: int, feature_values: int) -> nn.Module:
    torch.manual_seed(0)
    resnet = ModifiedResNet([1, 1, 1, 1], feature_values, heads=width // 2, width=width)
    return resnet.eval().requires_grad_(False)


def dtypes(width: int, feature_values: int, dtype: Dtype) -> list[torch.dtype]:
    """List the tower's dtypes, in order, without repetitions."""
    tower = build_tower(make_resnet(width, feature_values), feature_values, dtype, CPU)
    convolutions = [part for part in tower.modules() if isinstance(part, nn.Conv2d)]
    return list(dict.fromkeys(convolution.weight.dtype for convolution in convolutions))


@pytest.mark.parametrize(
    ("width", "feature_values", "expected"),
    [
        (64, 1024, [torch.bfloat16]),  # as RN50
        (16, 64, [torch.float32, torch.bfloat16]),  # as the golden model
        (16, 32, [torch.float32]),
    ],
)
def test_bfloat16_goes_where_its_rounding_averages_out(
    width: int, feature_values: int, expected: list[torch.dtype]
) -> None:
    assert dtypes(width, feature_values, "bfloat16") == expected


def test_float16_has_digits_enough_for_all_stages() -> None:
    assert dtypes(16, 32, "float16") == [torch.float16]


@torch.inference_mode()
def test_a_wide_resnet_in_bfloat16_has_nearly_the_features_of_float32() -> None:
    pixels_N3HW = torch.randn(2, 3, 224, 224)
    exact_ND, rounded_ND = (
        build_tower(make_resnet(64, 1024), 1024, dtype, CPU)(pixels_N3HW)
        for dtype in ("float32", "bfloat16")
    )
    error = (rounded_ND - exact_ND).norm() / exact_ND.norm()
    assert 0 < error < 0.01
