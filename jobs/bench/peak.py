"""What the hardware can do: the encoder's arithmetic next to torch's own matrix product.

Shapes in names: N crops, S = 224.
"""

from __future__ import annotations

from time import perf_counter

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from shardsift.scoring.encoder import Encoder

_SIDE = {"cpu": 2048, "cuda": 8192}
_ROUNDS = 10


def count_flops(encoder: Encoder, crops_N3SS: Tensor) -> float:
    """Count floating-point operations a crop, a multiplication and an addition being two."""
    with FlopCounterMode(display=False) as counter:
        encoder.encode(crops_N3SS)
    return counter.get_total_flops() / len(crops_N3SS)


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
