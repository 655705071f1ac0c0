"""A decoding process: jobs and records pass through a socket, files and pixels through slabs.

It knows nothing of torch, and ends when its parent process has ended.
"""

from __future__ import annotations

import mmap
import os
import select
import signal
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from threading import Thread
from time import perf_counter

import numpy as np
import numpy.typing as npt

from shardsift.errors import ImageError
from shardsift.images.decoder import Prepared, Wanted, decode_until_full
from shardsift.images.slabs import Bytes, map_slab

HEAD_BYTES = 8
"""Before the files in a slab stands the number of that which is being decoded."""


@dataclass(frozen=True, slots=True)
class Job:
    """Files to decode: begin and end of each in a slab; pixels are written behind them."""

    slab: int
    files: list[tuple[int, int]]
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Pixels:
    """Position and shape of an image in its slab."""

    begin: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A record for each of the first files of a job, one at least, and the seconds it took."""

    records: list[tuple[Pixels | ImageError, Prepared]]
    seconds: float


@dataclass(frozen=True, slots=True)
class NoMemory:
    """Result for a file that there was too little memory for."""


def reached_in(slab: Bytes) -> npt.NDArray[np.int64]:
    """View the number of the file that is being decoded, all that is left of who died at it."""
    return slab[:HEAD_BYTES].view(np.int64)


def main(jobs: int, memory: int) -> None:
    """Answer jobs until the other end closes; both arguments are descriptors."""
    # Ctrl-C reaches the whole process group; the parent ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.filterwarnings("ignore", module="PIL")  # broken files get rows, no log lines
    Thread(target=_end_with_asker, args=(jobs,), daemon=True).start()

    @cache
    def slab_of(number: int) -> tuple[mmap.mmap, Bytes]:
        shared = map_slab(memory, number)
        return shared, np.frombuffer(shared, np.uint8)

    with Connection(jobs) as connection:
        connection.send(None)  # tells the parent that this process is ready
        while True:
            try:
                job: Job = connection.recv()
            except EOFError:
                return
            began = perf_counter()
            answer: Answer | NoMemory
            try:
                answer = Answer(list(_do(job, slab_of(job.slab)[1])), perf_counter() - began)
            except MemoryError:
                answer = NoMemory()
            signal.setitimer(signal.ITIMER_PROF, 0)
            connection.send(answer)


def _end_with_asker(jobs: int) -> None:
    """End this process, whatever it is at, when the other end of its socket is closed."""
    poll = select.poll()
    poll.register(jobs, 0)  # only reports hang-ups
    poll.poll()
    os._exit(0)


def _do(job: Job, slab: Bytes) -> Iterator[tuple[Pixels | ImageError, Prepared]]:
    reached = reached_in(slab)

    def files() -> Iterator[memoryview]:
        for number, (begin, end) in enumerate(job.files):
            reached[0] = number
            # SIGPROF ends this process even in the middle of library code.
            signal.setitimer(signal.ITIMER_PROF, job.wanted.seconds)
            yield slab[begin:end].data

    at = job.files[-1][1]
    for picture, prepared in decode_until_full(files(), job.wanted):
        if isinstance(picture, ImageError):
            yield picture, prepared
            continue
        height, width, _ = picture.shape
        slab[at : at + picture.size] = picture.reshape(-1)
        yield Pixels(at, height, width), prepared
        at += picture.size
