"""Who writes into an output folder now: `_running.json`, kept fresh while a run lasts.

Not a lock, since not every object store has put-if-absent: it keeps people from starting a run
twice by mistake. Two runs at once are wasteful but harmless, for equal runs commit equal bytes.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import sleep
from typing import Final

from shardsift.errors import OutputError
from shardsift.storage.files import commit, delete, join, read_bytes

RUNNING: Final = "_running.json"

BEAT_SECONDS: Final = 10.0
_MISSED_BEATS: Final = 2.5
"""A holder on another machine that is silent for so many beats has died."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """What `_running.json` says of the run that writes here; `beat` counts up."""

    run: str
    host: str
    pid: int
    beat: int = 0


@contextmanager
def held(
    folder: str, *, force: bool = False, beat_seconds: float = BEAT_SECONDS
) -> Generator[None]:
    """Hold the folder while the block runs.

    Raises:
        OutputError: if another run holds it; `force` takes it over.
    """
    if not force:
        check_free(folder, beat_seconds=beat_seconds)
    mine = Holder(run=secrets.token_hex(8), host=socket.gethostname(), pid=os.getpid())
    _write(folder, mine)
    ended = threading.Event()
    heart = threading.Thread(
        target=_beat, args=(folder, mine, ended, beat_seconds), name="lease", daemon=True
    )
    heart.start()
    try:
        yield
    finally:
        ended.set()
        heart.join()
        holder = _read(folder)
        if holder is not None and holder.run == mine.run:
            delete(join(folder, RUNNING))


def check_free(folder: str, *, beat_seconds: float = BEAT_SECONDS) -> None:
    """Return once it is known that no run writes into the folder.

    It takes a few heartbeats to tell if a run on another machine ended without a word.

    Raises:
        OutputError: if one does.
    """
    holder = _read(folder)
    if holder is None or not _is_alive(folder, holder, beat_seconds):
        return
    raise OutputError(
        f"{folder}: another run (process {holder.pid} on {holder.host}) writes here; wait for it, "
        "stop it, or --force to go on beside it"
    )


def _is_alive(folder: str, holder: Holder, beat_seconds: float) -> bool:
    if holder.host == socket.gethostname():
        return _process_exists(holder.pid)
    patience = _MISSED_BEATS * beat_seconds
    logger.warning(
        "a run on %s has written here; watching for %.0f s whether it still does",
        holder.host,
        patience,
    )
    sleep(patience)
    later = _read(folder)
    return later is not None and later != holder


def _process_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _beat(folder: str, mine: Holder, ended: threading.Event, beat_seconds: float) -> None:
    beat = 0
    while not ended.wait(beat_seconds):
        try:
            holder = _read(folder)
            if holder is not None and holder.run != mine.run:
                logger.warning("a run on %s was forced into this output, too", holder.host)
                return
            beat += 1
            _write(folder, Holder(run=mine.run, host=mine.host, pid=mine.pid, beat=beat))
        except OSError as error:  # the run's own writes tell if the store is really gone
            logger.warning("%s can't be kept fresh: %s", RUNNING, error)


def _read(folder: str) -> Holder | None:
    try:
        return Holder(**json.loads(read_bytes(join(folder, RUNNING))))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise OutputError(
            f"{join(folder, RUNNING)}: not what a run writes ({error}); delete it"
        ) from error


def _write(folder: str, holder: Holder) -> None:
    commit(join(folder, RUNNING), (json.dumps(asdict(holder)) + "\n").encode())
