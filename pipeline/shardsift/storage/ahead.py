"""A remote file from front to back: the next blocks are fetched while one is read.

A connection to an object store carries some 100 MB/s, after a wait of some 30 ms; several at a time
carry several times as much.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Any

from shardsift.storage.remote import READ_BLOCK_BYTES, PlacedReader, ResumingReader

BLOCKS_AHEAD = 6
"""Requests at a time, and blocks that are held in memory."""


class AheadReader(PlacedReader):
    """A file whose bytes come in order, each once, though several blocks of it are asked for."""

    def __init__(self, first: ResumingReader, open_another: Callable[[], ResumingReader]) -> None:
        """Take over a reader of a file that has a size.

        `open_another` opens the same file once more, and raises if it has become another.
        """
        assert first.size is not None, "a stream can't be read in several places"
        super().__init__(first.size)
        self._end = first.size
        self._open_another = open_another
        self._idle: SimpleQueue[ResumingReader] = SimpleQueue()
        self._idle.put(first)
        self._pool = ThreadPoolExecutor(BLOCKS_AHEAD, "ahead")
        self._blocks: deque[tuple[int, Future[bytes]]] = deque()

    def readinto(self, buffer: Any, /) -> int:
        """Fill what the block here can fill. Raises OSError, if it was asked for often enough."""
        memory = memoryview(buffer).cast("B")
        if not memory or self._position >= self._end:
            return 0
        begin, block = self._wait_for_block()
        data = memoryview(block)[self._position - begin :][: len(memory)]
        memory[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        """Wait for what is under way, and close all readers."""
        if self.closed:
            return
        self._pool.shutdown(cancel_futures=True)
        self._blocks.clear()
        while not self._idle.empty():
            self._idle.get().close()
        super().close()

    def _wait_for_block(self) -> tuple[int, bytes]:
        """Return where the block begins that holds the next byte, and its content."""
        while self._blocks and not 0 <= self._position - self._blocks[0][0] < READ_BLOCK_BYTES:
            self._blocks.popleft()[1].cancel()
        begin = self._blocks[-1][0] + READ_BLOCK_BYTES if self._blocks else self._position
        while len(self._blocks) < BLOCKS_AHEAD and begin < self._end:
            self._blocks.append((begin, self._pool.submit(self._fetch, begin)))
            begin += READ_BLOCK_BYTES
        begin, block = self._blocks[0]
        return begin, block.result()

    def _fetch(self, begin: int) -> bytes:
        try:
            reader = self._idle.get_nowait()
        except Empty:
            reader = self._open_another()
        try:
            reader.seek(begin)
            end = min(begin + READ_BLOCK_BYTES, self._end)
            parts: list[bytes] = []
            while reader.tell() < end:
                parts.append(reader.take(end - reader.tell()))
            return parts[0] if len(parts) == 1 else b"".join(parts)
        finally:
            self._idle.put(reader)
