"""Local files that appear at once or not at all."""

from __future__ import annotations

import errno
import io
import os
import secrets
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

_SUFFIX: Final = ".tmp"

_BUFFER_BYTES: Final = 1 << 20
"""With Python's 8 kB, writing a sample after the other takes three times as long."""

_EARLY_BYTES: Final = 8 << 20
"""After so many the disk begins to write, or `fsync` would wait for all of them at the end."""


@contextmanager
def appearing(path: Path) -> Generator[BinaryIO]:
    """Open a file to write, which takes its name if the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Its own name may be as long as the filesystem allows.
    temporary = path.with_name(f"_{secrets.token_hex(8)}{_SUFFIX}")
    try:
        with io.BufferedWriter(_EarlyWriter(temporary, "w"), _BUFFER_BYTES) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def walk(folder: str, depth: int | None = None) -> Iterator[os.DirEntry[str]]:
    """Yield all files and folders below a folder, links followed; `depth` 1 is the folder's own.

    Raises:
        OSError: for a folder that can't be listed, and for a link to a folder that it lies in.
    """
    return _walk(folder, depth, ())


def _walk(folder: str, depth: int | None, came_from: tuple[str, ...]) -> Iterator[os.DirEntry[str]]:
    """Walk on; `came_from` are the real folders that links were followed from."""
    with os.scandir(folder) as entries:
        for entry in entries:
            yield entry
            if depth == 1 or not entry.is_dir():
                continue
            places = came_from
            if entry.is_symlink():
                places = (*came_from, os.path.realpath(folder))
                target = os.path.realpath(entry.path)
                if any(f"{place}/".startswith(f"{target}/") for place in places):
                    problem = "is a link to a folder that it lies in"
                    raise OSError(errno.ELOOP, problem, entry.path)
            with suppress(FileNotFoundError):  # deleted meanwhile: it holds nothing
                yield from _walk(entry.path, None if depth is None else depth - 1, places)


def sweep(folder: Path) -> None:
    """Delete what killed processes left of files that were about to appear below a folder."""
    for leftover in folder.rglob(f"_*{_SUFFIX}"):
        leftover.unlink(missing_ok=True)


def prune(folder: Path) -> None:
    """Delete a folder and those below it, as far as they hold no file."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


class _EarlyWriter(io.FileIO):
    """A file whose bytes are on their way to the disk while others are still to come."""

    _written = 0
    _announced = 0

    def write(self, data: Any, /) -> int:
        """Write as `FileIO` does."""
        size = super().write(data)
        self._written += size
        waiting = self._written - self._announced
        if waiting >= _EARLY_BYTES and hasattr(os, "posix_fadvise"):
            # It says that we won't read them; Linux begins to write them then, and drops none.
            os.posix_fadvise(self.fileno(), self._announced, waiting, os.POSIX_FADV_DONTNEED)
            self._announced = self._written
        return size


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
