"""Many reads here and there in one file."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.storage import absolute, read_range


@dataclass(frozen=True, slots=True)
class Ranges:
    """Reads bytes of one file: `read` takes an offset and a size, and raises OSError.

    `announce` takes the same, some time before: a disk that knows what comes next is quicker.
    Reading `gap` bytes for nothing is as quick as asking once more; `threads` may ask at a time.
    """

    read: Callable[[int, int], bytes]
    announce: Callable[[int, int], None]
    gap: int
    threads: int


@contextmanager
def open_ranges(url: str) -> Generator[Ranges | None]:
    """A file on disk is opened once, of a remote one each range is a request. Raises OSError.

    None where the store can't give ranges, as some web servers.
    """
    location = absolute(url)
    if "://" in location:
        gives_ranges = len(read_range(url, 1, 1)) == 1  # others send the whole file
        read = partial(read_range, url)
        yield Ranges(read, _no_matter, gap=1 << 20, threads=8) if gives_ranges else None
        return
    with Path(location).open("rb", buffering=0) as file:
        descriptor = file.fileno()
        advise = getattr(os, "posix_fadvise", None)  # not on every system

        def read_local(offset: int, size: int) -> bytes:
            return os.pread(descriptor, size, offset)

        def announce(offset: int, size: int) -> None:
            if advise:
                advise(descriptor, offset, size, os.POSIX_FADV_WILLNEED)

        if advise:  # or the kernel reads on into what isn't wanted
            advise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        yield Ranges(read_local, announce, gap=32 << 10, threads=1)


def _no_matter(offset: int, size: int) -> None:
    """Where nobody listens."""
