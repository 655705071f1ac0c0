"""Local files that appear at once or not at all."""

from __future__ import annotations

import errno
import io
import os
import re
import secrets
import stat
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import time
from typing import Any, BinaryIO, Final

from shardsift.storage.process import ProcessIdentity, is_running, this_process

_TEMPORARY: Final = re.compile(
    r"_(?:(?P<machine>[0-9a-f]{8})(?P<pid>[0-9a-f]{8})(?P<started>[0-9a-f]{16}))?[0-9a-f]{16}\.tmp"
)
"""Names of files that are about to appear: whose they are, if the system tells, and chance."""

_OLD_SECONDS: Final = 3600.0
"""What was not written to for so long isn't about to appear any more."""

_BUFFER_BYTES: Final = 1 << 20
"""With Python's 8 kB, writing a sample after the other takes three times as long."""

_EARLY_BYTES: Final = 8 << 20
"""After so many the disk begins to write, or `fsync` would wait for all of them at the end."""


Guard = Callable[[], None]
"""Raises if a file mustn't appear, for its folder is somebody else's by now."""


def no_guard() -> None:
    """Allow every file."""


def open_regular(path: str) -> io.BufferedReader:
    """Open a regular file: a pipe would make its reader wait for ever, a device has no end.

    Raises OSError.
    """
    if not stat.S_ISREG(mode := os.stat(path).st_mode) and not stat.S_ISDIR(mode):  # noqa: PTH116
        raise OSError(errno.EINVAL, "is a pipe, socket or device, and no file", path)
    return Path(path).open("rb")


@contextmanager
def appearing(path: Path, guard: Guard = no_guard) -> Generator[BinaryIO]:
    """Open a file to write, which takes its name if the block ends without an error.

    `guard` is called at the last moment, and keeps it from that by raising.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Its own name may be as long as the filesystem allows.
    temporary = path.with_name(_temporary_name())
    try:
        with io.BufferedWriter(_EarlyWriter(temporary, "w"), _BUFFER_BYTES) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        guard()
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def appear_alone(path: Path, data: bytes) -> bool:
    """Make a file appear unless one of its name is there; return whether it did."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(_temporary_name())
    try:
        temporary.write_bytes(data)
        return _link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _link(file: Path, path: Path) -> bool:
    """Give a file a second name unless that is taken, which a rename wouldn't mind."""
    try:
        path.hardlink_to(file)
    except FileExistsError:
        return False
    except OSError:  # not every filesystem has links
        if path.exists():
            return False
        file.replace(path)
    return True


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


def behind_links(folder: Path, names: Iterable[str]) -> set[str]:
    """Return those of the names below a folder that are symbolic links, or lie behind one."""
    known: dict[Path, bool] = {folder: False}

    def is_behind(path: Path) -> bool:
        if path not in known:
            known[path] = is_behind(path.parent) or path.is_symlink()
        return known[path]

    return {
        name for name in names if is_behind((folder / name).parent) or (folder / name).is_symlink()
    }


def sweep(folder: Path) -> None:
    """Delete what killed processes left of files that were about to appear below a folder."""
    for path in folder.rglob("_*.tmp"):
        if is_leftover(path) and not path.is_symlink():
            path.unlink(missing_ok=True)


def is_temporary(name: str) -> bool:
    """Tell whether a file is about to appear, or was once, by its name."""
    return bool(_TEMPORARY.fullmatch(name.rpartition("/")[2]))


def is_leftover(path: Path) -> bool:
    """Tell whether a file was about to appear, and never will: its process is gone, or has not
    written for an hour if it can't be seen from here."""
    match = _TEMPORARY.fullmatch(path.name)
    if not match:
        return False
    owner = None
    if match["machine"]:
        pid, started = int(match["pid"], 16), int(match["started"], 16)
        owner = ProcessIdentity(machine=match["machine"], pid=pid, started=started)
    runs = is_running(owner)
    if runs is not None:
        return not runs
    try:
        return time() - path.stat().st_mtime > _OLD_SECONDS
    except FileNotFoundError:
        return False


def _temporary_name() -> str:
    me = this_process()
    owner = f"{me.machine}{me.pid:08x}{me.started:016x}" if me else ""
    return f"_{owner}{secrets.token_hex(8)}.tmp"


def prune(folder: Path) -> None:
    """Delete a folder and those below it, as far as they hold no file."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
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
