"""Which process this is, so that another one can tell whether it still runs.

A pid alone says nothing: containers have pids of their own, and the kernel gives old ones out
again. With the machine's boot, the pid namespace and the time of its start a process is told apart
from every other one. Only Linux tells all of that.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

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
    """Tell who we are; None if this system doesn't say."""
    return _identity_of(os.getpid())


@lru_cache(maxsize=2)
def _identity_of(pid: int) -> ProcessIdentity | None:
    machine, stat = _machine(), _stat(pid)
    if machine is None or stat is None:
        return None
    return ProcessIdentity(machine=machine, pid=pid, started=int(stat[_STARTED]))


def is_running(process: ProcessIdentity | None) -> bool | None:
    """Tell whether a process still runs; None if that can't be seen from here."""
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
