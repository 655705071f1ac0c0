"""Processes that decode, for cores that one interpreter can't keep busy.

A file that kills its process costs its own row and nothing else.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Self

from shardsift.errors import ErrorCode, ImageError
from shardsift.images.decoder import (
    TWO_THREADS,
    Decoded,
    Decoder,
    Picture,
    Prepared,
    Unloaded,
    Wanted,
)
from shardsift.images.slabs import Bytes, Pin, Slabs, leave
from shardsift.images.worker import (
    HEAD_BYTES,
    Answer,
    Job,
    NoMemory,
    Pixels,
    reached_in,
)

_DEATHS = 3
"""Processes that have to die of the same work before it counts as the cause."""

_CRASHES = frozenset({"SIGSEGV", "SIGABRT", "SIGFPE", "SIGILL", "SIGTRAP"})
"""Signals that a file can cause. SIGKILL comes from the kernel, SIGBUS from full shared memory."""

_TOO_SLOW = "SIGPROF"

_SECONDS_TO_START = 120


def make_decoder(workers: int, pin: Pin = leave) -> Decoder:
    """Make a decoder of this many processes, or of two threads if `workers` is 0."""
    return DecodePool(workers, pin) if workers else TWO_THREADS


class DecodePool:
    """A decoder by processes. The memory of images is used again once they are released."""

    def __init__(self, workers: int, pin: Pin = leave) -> None:
        """Start the processes; they are up when they are first needed."""
        self.workers = workers
        self._slabs = Slabs(pin)
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        for _ in range(workers):
            self._idle.put(_Worker(self._slabs.descriptor))

    def decode(self, files: Sequence[bytes | Unloaded], wanted: Wanted) -> Decoded:
        """Decode files until their images fill the room.

        Raises:
            RuntimeError: if a process can't start.
            MemoryError: if there is too little memory, or the kernel kills process after process.
        """
        number, slab = self._slabs.take()
        job = Job(number, self._write(files, number), wanted)
        answer = self._answer(job, slab) if job.files else Answer([], 0.0)
        records = iter(answer.records)
        found: list[tuple[Picture, Prepared]] = []
        for file in files:
            if isinstance(file, ImageError):
                found.append((file, wanted.unprepared()))
            elif record := next(records, None):
                found.append((_picture(record[0], slab), record[1]))
            else:
                break
        pictures, prepared = zip(*found, strict=True)
        return Decoded(list(pictures), list(prepared), answer.seconds)

    def close(self) -> None:
        """End the processes; the memory is freed once all images are released."""
        for _ in range(self.workers):
            self._idle.get().end()
        self._slabs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, files: Sequence[bytes | Unloaded], slab: int) -> list[tuple[int, int]]:
        """Copy files into a slab; return begin and end of each."""
        places: list[tuple[int, int]] = []
        at = HEAD_BYTES
        for file in files:
            if not isinstance(file, ImageError):
                self._slabs.write(slab, at, file)
                places.append((at, at + len(file)))
                at += len(file)
        return places

    def _answer(self, job: Job, slab: Bytes) -> Answer:
        """Run a job in a process; only its first files if one of them kills the process."""
        causes: list[str] = []
        while len(causes) < _DEATHS:
            worker = self._idle.get()
            try:
                answer = worker.do(job)
            except (EOFError, OSError):
                cause = worker.end()
                worker = _Worker(self._slabs.descriptor)
                reached = int(reached_in(slab)[0])
                if cause == _TOO_SLOW and reached == 0:
                    return _error_of_first(job, slab, job.wanted.too_slow())
                causes += [cause] if len(job.files) == 1 else []
                job = replace(job, files=job.files[: max(1, reached)])
            else:
                if isinstance(answer, NoMemory):
                    raise MemoryError("no memory is left to decode an image")
                return answer
            finally:
                self._idle.put(worker)
        message = f"the decoding process was ended by {causes[-1]}, {_DEATHS} times"
        if causes[-1] not in _CRASHES:
            raise MemoryError(f"{message}: is there too little memory?")
        return _error_of_first(job, slab, ImageError(ErrorCode.DECODE_ERROR, message))


class _Worker:
    """One process, and our end of its socket."""

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._process, self._connection = _start(memory)
        self._is_up = False

    def do(self, job: Job) -> Answer | NoMemory:
        """Wait for an answer. Raises EOFError or OSError if the process dies on the way."""
        if not self._is_up:
            self._wait_until_up()
        self._connection.send(job)
        return self._connection.recv()

    def end(self) -> str:
        """Kill the process, unless it has ended; return the cause of its end."""
        self._connection.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0.1)  # a process that wasn't killed has an exit code
        self._process.kill()
        status = self._process.wait()
        return signal.Signals(-status).name if status < 0 else f"exit code {status}"

    def _wait_until_up(self) -> None:
        cause = ""
        for _ in range(_DEATHS):
            try:
                if not self._connection.poll(_SECONDS_TO_START):
                    raise RuntimeError(f"a decoder took over {_SECONDS_TO_START} s to start")
                self._connection.recv()
            except (EOFError, OSError):
                cause = self.end()
                self._process, self._connection = _start(self._memory)
            else:
                self._is_up = True
                return
        raise RuntimeError(f"a decoder can't start: it was ended by {cause}, {_DEATHS} times")


def _start(memory: int) -> tuple[subprocess.Popen[bytes], Connection]:
    """Start a process that decodes, whatever the main module of this one may be."""
    ours, theirs = socket.socketpair()
    with theirs:
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; "
            "from shardsift.images.worker import main; "
            f"main({theirs.fileno()}, {memory})"
        )
        descriptors = theirs.fileno(), memory
        process = subprocess.Popen([sys.executable, "-c", code], pass_fds=descriptors)
    return process, Connection(ours.detach())


def _error_of_first(job: Job, slab: Bytes, error: ImageError) -> Answer:
    begin, end = job.files[0]
    return Answer([(error, job.wanted.prepare(slab[begin:end].data, error))], 0.0)


def _picture(record: Pixels | ImageError, slab: Bytes) -> Picture:
    if isinstance(record, ImageError):
        return record
    size = record.height * record.width * 3
    return slab[record.begin : record.begin + size].reshape(record.height, record.width, 3)
