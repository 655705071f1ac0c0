"""Local files that appear as a whole or not at all, and cleaning up after ended processes.

A pid doesn't identify a process: containers have pids of their own, and the kernel reuses them.
Together with the machine's boot id, the pid namespace and the start time it does. Only Linux has
all of these.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from time import time
from typing import Any, BinaryIO, Final

from shardsift.errors import WriteError
from shardsift.redaction import reason

_PROC = Path("/proc")
_STATE, _STARTED = 0, 19
"""Places in `/proc/PID/stat`, counted behind the name; see proc(5)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessIdentity:
    """A process: `machine` is a digest of boot and pid namespace, 8 hexadecimal digits; `started`
    are clock ticks since the boot."""

    machine: str
    pid: int
    started: int


def this_process() -> ProcessIdentity | None:
    """Return the identity of this process; None if the system doesn't tell."""
    return _identity_of(os.getpid())


@lru_cache(maxsize=2)
def _identity_of(pid: int) -> ProcessIdentity | None:
    machine, stat = _machine(), _stat(pid)
    if machine is None or stat is None:
        return None
    return ProcessIdentity(machine=machine, pid=pid, started=int(stat[_STARTED]))


def is_running(process: ProcessIdentity | None) -> bool | None:
    """Return whether a process still runs; None if that can't be seen from this host."""
    if process is None or process.machine != _machine():
        return None
    stat = _stat(process.pid)
    return stat is not None and stat[_STATE] not in "ZX" and int(stat[_STARTED]) == process.started


@lru_cache(maxsize=1)
def _machine() -> str | None:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink(_PROC / "self/ns/pid")  # noqa: PTH115  # the link's text is wanted
    except OSError:
        return None
    return hashlib.sha256(f"{boot} {namespace}".encode()).hexdigest()[:8]


def _stat(pid: int) -> list[str] | None:
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


_TEMPORARY: Final = re.compile(
    r"_(?:(?P<machine>[0-9a-f]{8})(?P<pid>[0-9a-f]{8})(?P<started>[0-9a-f]{16}))?[0-9a-f]{16}\.tmp"
)
"""Names of files that are about to appear: whose they are, if the system tells, and chance."""

_OLD_SECONDS: Final = 3600.0
"""Seconds without a write after which a temporary file counts as left over."""

_BUFFER_BYTES: Final = 1 << 20
"""With Python's 8 kB, writing a sample after the other takes three times as long."""

_EARLY_BYTES: Final = 8 << 20
"""Bytes after which the disk begins to write, or `fsync` would wait for all at the end."""


Guard = Callable[[], None]
"""Raises if the file mustn't be committed, as another command has taken over its folder."""


def no_guard() -> None:
    """Allow every file."""


def open_regular(path: str) -> io.BufferedReader:
    """Open a regular file: a pipe would make its reader wait for ever, a device has no end.

    Raises OSError.
    """
    if not stat.S_ISREG(mode := os.stat(path).st_mode) and not stat.S_ISDIR(mode):  # noqa: PTH116
        raise OSError(errno.EINVAL, "is a pipe, socket or device, not a file", path)
    return Path(path).open("rb")


@contextmanager
def appearing(path: Path, guard: Guard = no_guard) -> Generator[BinaryIO]:
    """Open a file to write, which takes its name if the block ends without an error.

    `guard` is called at the last moment, and stops that by raising.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The final name may be as long as the filesystem allows.
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
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def appear_alone(path: Path, data: bytes) -> bool:
    """Make a file appear unless one of its name is there; return whether it did."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(_temporary_name())
    try:
        temporary.write_bytes(data)
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            return False
        except OSError:  # some filesystems have no hard links
            if path.exists():
                return False
            temporary.replace(path)
        return True
    finally:
        temporary.unlink(missing_ok=True)


def walk(folder: str, depth: int | None = None) -> Iterator[os.DirEntry[str]]:
    """Yield all files and folders below a folder, links followed; `depth` 1 is the folder's own.

    Raises:
        OSError: for a folder that can't be listed, and for a link to a folder that contains it.
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
                    problem = "is a link to a folder that contains it"
                    raise OSError(errno.ELOOP, problem, entry.path)
            with suppress(FileNotFoundError):  # deleted meanwhile
                yield from _walk(entry.path, None if depth is None else depth - 1, places)


def behind_links(folder: Path, names: Iterable[str]) -> set[str]:
    """Return the names below a folder that are symbolic links, or are below a linked folder."""
    known: dict[Path, bool] = {folder: False}

    def is_behind(path: Path) -> bool:
        if path not in known:
            known[path] = is_behind(path.parent) or path.is_symlink()
        return known[path]

    return {
        name for name in names if is_behind((folder / name).parent) or (folder / name).is_symlink()
    }


def sweep(folder: Path) -> None:
    """Delete temporary files that killed processes left below a folder."""
    for path in folder.rglob("_*.tmp"):
        if is_leftover(path) and not path.is_symlink():
            path.unlink(missing_ok=True)


def is_temporary(name: str) -> bool:
    """Return whether a name is that of a temporary file, renamed once it is complete."""
    return bool(_TEMPORARY.fullmatch(name.rpartition("/")[2]))


def is_leftover(path: Path) -> bool:
    """Return whether a temporary file is left over: its process is gone, or has not
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
    """Delete a folder and those below it that hold no file."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
            path.rmdir()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


class _EarlyWriter(io.FileIO):
    """A file that starts writing to disk before all bytes have come."""

    _written = 0
    _announced = 0

    def write(self, data: Any, /) -> int:
        """Write as `FileIO` does."""
        size = super().write(data)
        self._written += size
        waiting = self._written - self._announced
        if waiting >= _EARLY_BYTES and hasattr(os, "posix_fadvise"):
            # DONTNEED makes Linux begin to write dirty pages; it drops none.
            os.posix_fadvise(self.fileno(), self._announced, waiting, os.POSIX_FADV_DONTNEED)
            self._announced = self._written
        return size


# --- scratch folders ------------------------------------------------------------------------------


_PREFIX: Final = "shardsift-"
_OWNED: Final = re.compile(
    _PREFIX + r"(?P<machine>[0-9a-f]{8})(?P<pid>[0-9a-f]{8})(?P<started>[0-9a-f]{16})-.*"
)
"""Names of folders: whose they are, and chance."""

_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def make_scratch() -> tempfile.TemporaryDirectory[str]:
    """Make a folder, which its `cleanup` deletes. Raises WriteError, naming the place."""
    me = this_process()
    owner = f"{me.machine}{me.pid:08x}{me.started:016x}-" if me else ""
    with naming_scratch():
        _sweep(Path(tempfile.gettempdir()))
        return tempfile.TemporaryDirectory(prefix=_PREFIX + owner)


@contextmanager
def naming_scratch() -> Generator[None]:
    """Turn what goes wrong in writing scratch files into a WriteError that names the place."""
    try:
        yield
    except WriteError:
        raise
    except FileNotFoundError as error:  # tempfile found no usable folder
        raise WriteError("TMPDIR", reason(error)) from error
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise _full(reason(error)) from error


def out_of_scratch(problem: str) -> WriteError | None:
    """Return the error that names the place, if a library says that scratch files don't fit."""
    signs = ("max_temp_directory_size", os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))
    if not any(sign in problem for sign in (*signs, os.strerror(errno.EFBIG))):
        return None
    return _full("no space is left for data that doesn't fit into memory")


def _full(problem: str) -> WriteError:
    place = f"the folder of temporary files, {tempfile.gettempdir()}"
    return WriteError(place, f"{problem}; make room, or set TMPDIR")


def _sweep(folder: Path) -> None:
    """Delete the scratch folders of this user's processes that have ended without a word."""
    for path in folder.glob(f"{_PREFIX}*"):
        match = _OWNED.fullmatch(path.name)
        if not match or path.is_symlink():
            continue
        pid, started = int(match["pid"], 16), int(match["started"], 16)
        owner = ProcessIdentity(machine=match["machine"], pid=pid, started=started)
        with suppress(FileNotFoundError):
            if is_running(owner) is False and path.stat().st_uid == os.getuid():
                shutil.rmtree(path, ignore_errors=True)
