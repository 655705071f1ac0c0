"""Many reads here and there in one file."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from shardsift.storage.files import absolute, read_range
from shardsift.storage.local import open_regular


@dataclass(frozen=True, slots=True)
class Ranges:
    """Reads bytes of one file: `read_into` takes an offset and memory to fill, and returns how many
    bytes there were; it raises OSError.

    `announce` takes offset and size, some time before: a disk that knows what comes next is
    quicker. Reading `gap` bytes for nothing is as quick as asking once more; `threads` may ask at
    a time, each for `in_piece` ranges one after the other.
    """

    read_into: Callable[[int, memoryview], int]
    announce: Callable[[int, int], None]
    gap: int
    threads: int
    in_piece: int


@contextmanager
def open_ranges(url: str) -> Generator[Ranges | None]:
    """Open a file on disk once; of a remote one each range is a request. Raises OSError.

    None if the store can't give ranges, as some web servers.
    """
    location = absolute(url)
    if "://" in location:
        gives_ranges = len(read_range(url, 1, 1)) == 1  # others send the whole file

        def read_remote(offset: int, memory: memoryview) -> int:
            data = read_range(url, offset, len(memory))
            memory[: len(data)] = data
            return len(data)

        ranges = Ranges(read_remote, _no_matter, gap=1 << 20, threads=8, in_piece=1)
        yield ranges if gives_ranges else None
        return
    with open_regular(location) as file:
        descriptor = file.fileno()
        advise = getattr(os, "posix_fadvise", None)  # not on every system

        def read_local(offset: int, memory: memoryview) -> int:
            return os.preadv(descriptor, [memory], offset)

        def announce(offset: int, size: int) -> None:
            if advise:
                advise(descriptor, offset, size, os.POSIX_FADV_WILLNEED)

        if advise:  # or the kernel reads on into what isn't wanted
            advise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        yield Ranges(read_local, announce, gap=32 << 10, threads=1, in_piece=1 << 10)


def _no_matter(offset: int, size: int) -> None:
    """Announce nothing: nobody listens."""
