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

    Reading `gap` bytes for nothing is as quick as asking once more; `threads` may ask at a time.
    """

    read: Callable[[int, int], bytes]
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
        yield Ranges(partial(read_range, url), gap=1 << 20, threads=8) if gives_ranges else None
        return
    with Path(location).open("rb", buffering=0) as file:
        descriptor = file.fileno()

        def read(offset: int, size: int) -> bytes:
            return os.pread(descriptor, size, offset)

        yield Ranges(read, gap=32 << 10, threads=1)
