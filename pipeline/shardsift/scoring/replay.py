"""A GPU's work, recorded once and started by one call: hundreds of launches keep a core busy."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Lock

import torch
from torch import Tensor

from shardsift.scoring.batch import Batch

Compute = Callable[[Tensor], Batch]

_WARM_RUNS = 2
"""In which libraries choose kernels and take memory, which recording doesn't allow."""

logger = logging.getLogger(__name__)


def record(compute: Compute, example: Tensor) -> Compute | None:
    """Record a computation of tensors like `example`, which lies on a GPU. Threads may share it.

    None if it can't be recorded. Raises OutOfMemoryError.
    """
    try:
        return _Recording(compute, example)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        logger.warning("batches are launched step by step, which keeps a core busy: %s", error)
        return None


class _Recording:
    """A CUDA graph between an input and an output of its own."""

    @torch.inference_mode()
    def __init__(self, compute: Compute, example: Tensor) -> None:
        self._lock = Lock()
        self._input = example.clone()
        for _ in range(_WARM_RUNS):
            compute(self._input)
        self._graph = torch.cuda.CUDAGraph()
        with (
            torch.cuda.device(example.device),
            torch.cuda.graph(self._graph, capture_error_mode="thread_local"),
        ):
            self._output = compute(self._input)
        with torch.cuda.device(example.device):
            self._done = torch.cuda.Event()

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> Batch:
        """Compute on the current stream, after what other streams have begun here."""
        stream = torch.cuda.current_stream(x.device)
        with self._lock, torch.cuda.stream(stream):
            stream.wait_event(self._done)
            self._input.copy_(x)
            self._graph.replay()
            found = Batch(*(part.clone() for part in self._output))
            self._done.record(stream)
        return found
