"""Folders for what doesn't fit memory, where `TMPDIR` says; what killed processes left is swept."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from shardsift.errors import WriteError
from shardsift.redaction import reason
from shardsift.storage.process import ProcessIdentity, is_running, this_process

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
    except FileNotFoundError as error:  # tempfile found no place at all
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
    return _full("no space is left for what doesn't fit the memory")


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
