"""The lock of an output folder: `_running.json`, renewed while a run lasts.

It keeps two commands from writing into one folder. A command that paused so long that it counted
as dead checks the lock before each commit, and writes nothing afterwards. Not every object store
can create a file only if there is none: there, of two commands that start in the same second, the
one that wrote last holds the lock.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from math import inf
from time import sleep
from typing import Any, Final

from shardsift.documents import Document, DocumentError
from shardsift.errors import OutputError
from shardsift.redaction import reason
from shardsift.storage.files import commit, create, delete, join, read_bytes
from shardsift.storage.local import ProcessIdentity, is_running, this_process

RUNNING: Final = "_running.json"

BEAT_SECONDS: Final = 10.0
_MISSED_BEATS: Final = 2.5
"""Heartbeats without a sign after which a holder on another host counts as dead."""

_LATE_BEATS: Final = 1.5
"""Heartbeats without a write after which the lock is checked before the next commit."""

_SETTLING_BEATS: Final = 0.1
"""Wait this many heartbeats, so that a rival who checked at the same time has also written."""

logger: Final = logging.getLogger(__name__)


class Holder(Document):
    """Content of `_running.json`: the command that writes here; `beat` counts up.

    `process` is None if the system can't identify processes. A `forced` command writes beside
    another one, which continues.
    """

    run: str
    host: str
    pid: int
    process: ProcessIdentity | None
    beat: int = 0
    forced: bool = False


class Lease:
    """A lock that a command holds; its actors have copies, without the heartbeat."""

    def __init__(self, folder: str, beat_seconds: float, *, forced: bool = False) -> None:
        self.folder = folder
        self.beat_seconds = beat_seconds
        self._seen = _now()
        self._is_shared = False
        self.mine: Holder = Holder(
            run=secrets.token_hex(8),
            host=socket.gethostname(),
            pid=os.getpid(),
            process=this_process(),
            forced=forced,
        )

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_seen": -inf}  # a monotonic time has no meaning in another process

    def is_mine(self) -> bool:
        """Return whether the folder is still there, and no other command has taken it over."""
        try:
            holder = _read(self.folder)
        except (OSError, OutputError):
            return False
        return holder is not None and holder.run == self.mine.run

    def check(self) -> None:
        """Raise OutputError if the folder isn't held any more."""
        if not self.is_mine():
            raise OutputError(
                f"{self.folder}: was renamed, deleted or taken over by another command "
                "while this one wrote there; run the same command again"
            )

    def confirm(self) -> None:
        """Record that the folder is held at this moment."""
        self._seen = _now()

    def share(self) -> None:
        """Continue beside a forced command, and ignore `_running.json` from now on."""
        self._is_shared = True

    def guard(self) -> None:
        """Raise OutputError before a commit if another command has taken the folder over.

        Looks only if the last heartbeat is older than it should be: this process, or its machine,
        stood still meanwhile, and others may have taken it for dead.
        """
        if self._is_shared or _now() - self._seen <= _LATE_BEATS * self.beat_seconds:
            return
        holder = _read(self.folder)
        if holder is not None and holder.forced and holder.run != self.mine.run:
            self.share()
        elif holder is None or holder.run != self.mine.run:
            raise OutputError(
                f"{self.folder}: another command took it over while this one stood still, and "
                "its files are kept"
            )
        self.confirm()


@contextmanager
def held(
    folder: str, *, force: bool = False, beat_seconds: float = BEAT_SECONDS
) -> Generator[Lease]:
    """Hold the folder while the block runs.

    Raises:
        OutputError: if another command holds it; `force` takes it over.
    """
    lease = Lease(folder, beat_seconds, forced=force)
    if force:
        _write(folder, lease.mine)
    else:
        _take(lease, beat_seconds)
    ended = threading.Event()
    heart = threading.Thread(target=_beat, args=(lease, ended), name="lease", daemon=True)
    heart.start()
    try:
        yield lease
    finally:
        ended.set()
        heart.join()
        if lease.is_mine():
            delete(join(folder, RUNNING))


def check_free(folder: str, *, beat_seconds: float = BEAT_SECONDS) -> Holder | None:
    """Wait until no command writes into the folder; return the holder that died there, if any.

    Waits 2.5 heartbeats (25 s) if the holder runs on another host.

    Raises:
        OutputError: if a command writes there.
    """
    holder = _read(folder)
    if holder is not None and _is_alive(folder, holder, beat_seconds):
        raise _refusal(folder, holder)
    return holder


def is_held(folder: str) -> bool:
    """Return whether a command writes into the folder, or was killed there."""
    try:
        return _read(folder) is not None
    except (OSError, OutputError):
        return True


def _take(lease: Lease, beat_seconds: float) -> None:
    folder = lease.folder
    dead = check_free(folder, beat_seconds=beat_seconds)
    if dead is None and create(join(folder, RUNNING), lease.mine.encode()):
        return
    if dead is not None:
        _write(folder, lease.mine)
    sleep(_SETTLING_BEATS * beat_seconds)
    holder = _read(folder)
    if holder is None or holder.run != lease.mine.run:
        raise _refusal(folder, holder)


def _refusal(folder: str, holder: Holder | None) -> OutputError:
    who = f"process {holder.pid} on {holder.host}" if holder else "it has just ended"
    return OutputError(
        f"{folder}: another command ({who}) writes here; wait for it, or stop it (with --force, "
        "`score` and `reshard` continue beside it)"
    )


def _is_alive(folder: str, holder: Holder, beat_seconds: float) -> bool:
    runs = is_running(holder.process)
    if runs is not None:
        return runs
    patience = _MISSED_BEATS * beat_seconds
    logger.warning(
        "%s: a command on %s has written here; waiting up to %.0f s for a sign of life",
        *(folder, holder.host, patience),
    )
    sleep(patience)
    later = _read(folder)
    return later is not None and later != holder


def _now() -> float:
    """Return seconds of a clock that also counts while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _beat(lease: Lease, ended: threading.Event) -> None:
    beat = 0
    while not ended.wait(lease.beat_seconds):
        beat += 1
        try:
            holder = _read(lease.folder)
            if holder is None or holder.run != lease.mine.run:
                if holder is not None and holder.forced:
                    lease.share()
                logger.warning(
                    "%s: is held by another command now, or was renamed or deleted", lease.folder
                )
                return
            _write(lease.folder, lease.mine.model_copy(update={"beat": beat}))
            lease.confirm()
        except OutputError as error:  # if the store is gone, the run's own writes raise
            logger.warning("%s can't be renewed: %s", RUNNING, error)


def _read(folder: str) -> Holder | None:
    location = join(folder, RUNNING)
    try:
        return Holder.decode(read_bytes(location))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, DocumentError) as error:
        raise OutputError(
            f"{location}: can't be read ({reason(error)}); if no command writes here, delete it"
        ) from error


def _write(folder: str, holder: Holder) -> None:
    commit(join(folder, RUNNING), holder.encode())
