"""What the hardware can do: the encoder's arithmetic next to torch's own matrix product.

Shapes in names: N crops, S = 224.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from time import perf_counter
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from shardsift.scoring.encoder import Encoder

Shape = Sequence[int]

_SIDE = {"cpu": 2048, "cuda": 8192}
_ROUNDS = 10


def count_flops(encoder: Encoder, crops_N3SS: Tensor) -> float:
    """Count floating-point operations a crop, a multiplication and an addition being two."""
    with FlopCounterMode(display=False, custom_mapping=_fused_convolutions()) as counter:
        encoder.encode(crops_N3SS)
    return counter.get_total_flops() / len(crops_N3SS)


def _fused_convolutions() -> dict[Any, Callable[..., int]]:
    """Tell how to count what torch's counter doesn't know."""
    onednn = cast(Any, torch.ops).mkldnn

    def plain(x: Shape, weight: Shape, *_: Any, out_shape: Shape, **__: Any) -> int:
        return 2 * prod(weight) * out_shape[0] * prod(out_shape[2:])

    def added(other: Shape, x: Shape, weight: Shape, *_: Any, out_shape: Shape, **__: Any) -> int:
        return plain(x, weight, out_shape=out_shape)

    return {onednn._convolution_pointwise: plain, onednn._convolution_pointwise_: added}


def measure_peak(device: str, dtype: str) -> float:
    """Measure the floating-point operations a second of a large matrix product."""
    side = _SIDE[device]
    factor = torch.randn(side, side, device=device).to(getattr(torch, dtype))

    def seconds() -> float:
        started = perf_counter()
        product = factor @ factor
        product[0, 0].item()  # waits for a GPU
        return perf_counter() - started

    return 2 * side**3 / min(seconds() for _ in range(_ROUNDS))
