"""Memory that processes share, in pieces of one size.

A slab may hold far more than it takes: memory is only there where something was written. No name
leads to it, so that a process that dies leaves nothing behind.
"""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
import weakref
from collections import deque
from collections.abc import Callable
from threading import Lock

import numpy as np
import numpy.typing as npt

from shardsift.config import PILLOW_BOMB_ERROR_PIXELS
from shardsift.images.decoder import CHUNK_BYTES, ROOM_BYTES
from shardsift.shards.samples import MAX_IMAGE_BYTES

Bytes = npt.NDArray[np.uint8]

Unpin = Callable[[], None]
Pin = Callable[[Bytes], Unpin]
"""Pins memory for fast copies to a GPU; the returned function undoes that."""

_MOST = CHUNK_BYTES + MAX_IMAGE_BYTES + ROOM_BYTES + 3 * PILLOW_BOMB_ERROR_PIXELS
SLAB_BYTES = -(-_MOST // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
"""Any chunk fits, with the images that are decoded of it."""

_KEPT_BYTES = CHUNK_BYTES + ROOM_BYTES
"""Bytes of a slab that stay allocated; memory beyond, for a large chunk, is freed."""


def leave(memory: Bytes) -> Unpin:
    """Do nothing."""
    return lambda: None


def map_slab(descriptor: int, number: int) -> mmap.mmap:
    """Make a slab of the shared memory this process's own."""
    return mmap.mmap(descriptor, SLAB_BYTES, offset=number * SLAB_BYTES)


class Slabs:
    """All slabs; as many as are in use at a time, each used again once its images are released.

    Attributes:
        descriptor: of the memory, for processes that are to share it.
    """

    def __init__(self, pin: Pin = leave) -> None:
        self._file = None if hasattr(os, "memfd_create") else tempfile.TemporaryFile()  # noqa: SIM115
        self.descriptor: int = self._file.fileno() if self._file else os.memfd_create("shardsift")
        self._memory: list[mmap.mmap] = []
        self._pin = pin
        self._unpin: list[Unpin] = []
        self._free: deque[int] = deque()
        self._lock = Lock()

    def take(self) -> tuple[int, Bytes]:
        """Take a slab; return its number and bytes. It is free again when no view of it exists."""
        try:
            number = self._free.pop()
        except IndexError:
            number = self._add()
        memory = self._memory[number]
        slab: Bytes = np.frombuffer(memory, np.uint8)
        # May run in any thread at any moment, when the last view is freed: takes no lock.
        weakref.finalize(slab, _give_back, memory, self._free, number).atexit = False
        return number, slab

    def write(self, number: int, at: int, data: bytes) -> None:
        """Copy into a slab without blocking other threads. Raises OSError."""
        written = os.pwrite(self.descriptor, data, number * SLAB_BYTES + at)
        if written < len(data):
            raise OSError(errno.ENOSPC, "no memory is left for images that wait to be decoded")

    def close(self) -> None:
        """Release the memory, which lasts as long as a view of it is held."""
        for unpin in self._unpin:
            unpin()
        self._unpin.clear()
        self._memory.clear()
        if self._file:
            self._file.close()
        else:
            os.close(self.descriptor)

    def _add(self) -> int:
        with self._lock:
            number = len(self._memory)
            os.ftruncate(self.descriptor, (number + 1) * SLAB_BYTES)
            memory = map_slab(self.descriptor, number)
            self._memory.append(memory)
            self._unpin.append(self._pin(np.frombuffer(memory, np.uint8, _KEPT_BYTES)))
            return number


def _give_back(memory: mmap.mmap, free: deque[int], number: int) -> None:
    if hasattr(mmap, "MADV_REMOVE"):
        memory.madvise(mmap.MADV_REMOVE, _KEPT_BYTES, SLAB_BYTES - _KEPT_BYTES)
    free.append(number)
