"""Between host and device: images in, scores out, and launches that are recorded once.

Shapes in names: N crops, V values of each, D feature values that are kept, which may be none.
"""

from __future__ import annotations

import logging
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shardsift.images.slabs import Bytes, Unpin
from shardsift.records import Embedding, RgbImage

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
    with torch.cuda.device(device):  # else the event belongs to the current device's stream
        hosts = [
            torch.empty(part.shape, dtype=part.dtype, pin_memory=part.numel() > 0) for part in batch
        ]
        for host, part in zip(hosts, batch, strict=True):
            host.copy_(part, non_blocking=True)
        copied = torch.cuda.Event(blocking=True)  # waits without using a core
        copied.record()

    def fetch() -> Fetched:
        copied.synchronize()
        return Fetched(*(host.numpy() for host in hosts))

    return fetch


_FOR_EVERY_CONTEXT = 1
"""cudaHostRegisterPortable."""


class PinnedMemory:
    """Pinned memory, from which a GPU copies directly. Threads may share it.

    Images in it aren't overwritten while they are in use.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._ranges: list[tuple[int, int]] = []

    def pin(self, memory: Bytes) -> Unpin:
        """Add some memory; return what undoes that. If it can't be pinned, nothing changes."""
        begin = memory.ctypes.data
        own = begin, begin + memory.nbytes
        if self._device.type == "cpu":
            insort(self._ranges, own)
            return lambda: self._ranges.remove(own)
        runtime: Any = torch.cuda.cudart()
        with torch.cuda.device(self._device):
            refused = int(runtime.cudaHostRegister(begin, memory.nbytes, _FOR_EVERY_CONTEXT))
        if refused:
            return lambda: None
        insort(self._ranges, own)

        def unpin() -> None:
            self._ranges.remove(own)
            runtime.cudaHostUnregister(begin)

        return unpin

    def holds(self, image: RgbImage) -> bool:
        """Return whether all of an image lies there."""
        begin = image.ctypes.data
        found = bisect_right(self._ranges, (begin, float("inf")))
        return found > 0 and begin + image.nbytes <= self._ranges[found - 1][1]


class Transfer:
    """Copies to a device, for one thread. On a CPU nothing moves."""

    def __init__(self, device: torch.device, pinned: PinnedMemory) -> None:
        self._device = device
        self._pinned = pinned
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._under_way: deque[tuple[Any, Sequence[RgbImage]]] = deque()

    def keep(self, image: RgbImage) -> RgbImage:
        """Return an image that can be sent later: itself from pinned memory, a copy of others.

        The iterator may write the next image into the same memory.
        """
        if image.flags.c_contiguous and self._pinned.holds(image):
            return image
        kept: RgbImage = torch.empty(
            image.shape, dtype=torch.uint8, pin_memory=self._stream is not None
        ).numpy()
        kept[:] = image
        return kept

    def send_images(self, images: Sequence[RgbImage]) -> Tensor:
        """Send kept images, one behind the other: uint8, shape (bytes of all,).

        Those that lie side by side go by one copy.
        """
        runs = [torch.from_numpy(run) for run in _runs(images)]
        if self._stream is None:
            return _joined(runs)
        while self._under_way and self._under_way[0][0].query():
            self._under_way.popleft()
        with torch.cuda.stream(self._stream):
            sent = _joined([run.to(self._device, non_blocking=True) for run in runs])
            # keeps their memory alive
            self._under_way.append((self._stream.record_event(), images))
        return self._arrived(sent, self._stream)

    def send_table(self, parts: Sequence[npt.NDArray[Any]]) -> list[Tensor]:
        """Send arrays of 32 or 64 bits a value, the latter first, by one copy."""
        values = [part.reshape(-1).view(np.int32) for part in parts]
        table = torch.empty(
            sum(map(len, values)), dtype=torch.int32, pin_memory=self._stream is not None
        )
        np.concatenate(values, out=table.numpy())
        if self._stream is not None:
            with torch.cuda.stream(self._stream):
                sent = table.to(self._device, non_blocking=True)
            table = self._arrived(sent, self._stream)
        return [
            own.view(torch.from_numpy(part).dtype).view(part.shape)
            for own, part in zip(table.split(list(map(len, values))), parts, strict=True)
        ]

    def _arrived(self, sent: Tensor, stream: torch.cuda.Stream) -> Tensor:
        """Make later computations wait for a copy, and keep its memory until they are done."""
        computing = torch.cuda.current_stream(self._device)
        computing.wait_stream(stream)
        sent.record_stream(computing)
        return sent


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _runs(images: Sequence[RgbImage]) -> Iterator[Bytes]:
    """Yield the bytes of images, of those that lie side by side in one array together."""
    first: RgbImage | None = None
    end = size = 0
    for image in images:
        address = image.ctypes.data
        if first is not None and address == end and _share(first, image):
            size += image.nbytes
        else:
            if first is not None:
                yield _bytes_from(first, size)
            first, size = image, image.nbytes
        end = address + image.nbytes
    if first is not None:
        yield _bytes_from(first, size)


def _share(one: RgbImage, other: RgbImage) -> bool:
    return one.base is not None and one.base is other.base


def _bytes_from(image: RgbImage, size: int) -> Bytes:
    """View the memory from the first pixel of an image on."""
    return np.lib.stride_tricks.as_strided(image, (size,), (1,))


# --- launches -------------------------------------------------------------------------------------


Compute = Callable[[Tensor], Batch]

_WARM_RUNS = 2
"""Calls before recording, in which libraries choose kernels and allocate memory."""

logger: Final = logging.getLogger(__name__)


def record(compute: Compute, example: Tensor) -> Compute | None:
    """Record a computation of tensors like `example`, which is on a GPU. Threads may share it.

    None if it can't be recorded. Raises OutOfMemoryError.
    """
    try:
        return _Recording(compute, example)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        logger.warning(
            "batches can't be recorded, and each operation is launched separately, "
            "which is slower: %s",
            error,
        )
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
