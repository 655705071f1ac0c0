"""What a batch of crops comes to, where it is computed and where it is used.

Shapes in names: N crops, V values of each, D feature values that are kept, which may be none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shardsift.records import Embedding

Scores = npt.NDArray[np.float32]
"""quality, q_sim, q_mag, w_sim and attributes of N crops: V values each, shape (V, N)."""


class Batch(NamedTuple):
    """On the device: scores in float32, features before normalisation in float16."""

    scores_VN: Tensor
    features_ND: Tensor


class Fetched(NamedTuple):
    """The same on the host."""

    scores_VN: Scores
    features_ND: Embedding


Fetch = Callable[[], Fetched]
"""Waits for a batch, and returns it."""


def fetch_later(batch: Batch) -> Fetch:
    """Start to copy a batch to the host; return what waits for it."""
    device = batch.scores_VN.device
    if device.type == "cpu":
        return lambda: Fetched(*(part.numpy() for part in batch))
    with torch.cuda.device(device):  # or the event would belong to another's stream
        hosts = [
            torch.empty(part.shape, dtype=part.dtype, pin_memory=part.numel() > 0) for part in batch
        ]
        for host, part in zip(hosts, batch, strict=True):
            host.copy_(part, non_blocking=True)
        copied = torch.cuda.Event(blocking=True)  # leaves its core to others meanwhile
        copied.record()

    def fetch() -> Fetched:
        copied.synchronize()
        return Fetched(*(host.numpy() for host in hosts))

    return fetch
