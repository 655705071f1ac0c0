"""Errors of a GPU become one line with the next step."""

from __future__ import annotations

import pytest
import torch

from shardsift import ScoreConfig, Scorer
from shardsift.errors import DeviceError
from shardsift.scoring.devices import explained

CUDA = torch.device("cuda")


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nSee docs"),
            "too little memory for batches of 256 crops.*; lower --batch-size, or end",
        ),
        (
            RuntimeError("CUDA error: no kernel image is available for execution on the device"),
            r"this torch \(2.* has no code for it, only for .*; install one that has",
        ),
        (
            RuntimeError("The NVIDIA driver on your system is too old (found version 11040)."),
            "NVIDIA's driver is too old for this torch .*; update the driver, or install",
        ),
        (
            RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable"),
            "another process uses it exclusively",
        ),
        (AssertionError("Torch not compiled with CUDA enabled"), "install one for"),
        (RuntimeError("No CUDA GPUs are available"), "see CUDA_VISIBLE_DEVICES"),
        (RuntimeError("CUDA error: invalid device ordinal\nmore"), "counted from 0"),
        (RuntimeError("CUDA error: unknown\nCompile with..."), "CUDA error: unknown$"),
    ],
)
def test_what_is_wrong_with_a_gpu_is_one_line(error: Exception, advice: str) -> None:
    with pytest.raises(DeviceError, match=advice) as caught, explained(CUDA, 256):
        raise error
    assert "\n" not in str(caught.value)


def test_errors_of_a_cpu_are_left_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="no GPU's"), explained(torch.device("cpu")):
        raise RuntimeError("no GPU's")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told_before_weights_are_loaded() -> None:
    config = ScoreConfig(pretrained="/nowhere/weights.pt")
    with pytest.raises(DeviceError, match=r"^device cuda: "):
        Scorer(config, device="cuda")
