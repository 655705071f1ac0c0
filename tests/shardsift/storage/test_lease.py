"""One run at a time writes into an output, and a dead one doesn't bar the way."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from shardsift.errors import OutputError
from shardsift.storage.lease import RUNNING, check_free, held


def holder(folder: Path) -> dict[str, object]:
    return json.loads((folder / RUNNING).read_text())


def leave_behind(folder: Path, host: str, pid: int) -> None:
    """What a run leaves that ended without a word."""
    (folder / RUNNING).write_text(json.dumps({"run": "a", "host": host, "pid": pid, "beat": 3}))


def test_a_second_run_is_told_of_the_first(tmp_path: Path) -> None:
    with held(str(tmp_path)), pytest.raises(OutputError, match=r"another run \(process \d+"):
        check_free(str(tmp_path))
    check_free(str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_dead_run_of_this_machine_is_forgotten_at_once(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    leave_behind(tmp_path, socket.gethostname(), ended.pid)
    with held(str(tmp_path)):
        assert holder(tmp_path)["pid"] == os.getpid()


def test_a_silent_run_of_another_machine_is_forgotten(tmp_path: Path) -> None:
    leave_behind(tmp_path, "elsewhere", 1)
    with held(str(tmp_path), beat_seconds=0.05):
        assert holder(tmp_path)["host"] == socket.gethostname()


def test_a_live_run_of_another_machine_is_not(tmp_path: Path) -> None:
    leave_behind(tmp_path, "elsewhere", 1)
    there = holder(tmp_path)
    later = json.dumps(there | {"beat": 4})
    threading.Timer(0.1, lambda: (tmp_path / RUNNING).write_text(later)).start()
    with pytest.raises(OutputError, match="on elsewhere"):
        check_free(str(tmp_path), beat_seconds=0.2)


def test_a_forced_run_holds_on_and_the_first_leaves_it_alone(tmp_path: Path) -> None:
    with held(str(tmp_path), beat_seconds=0.02):
        first = holder(tmp_path)
        with held(str(tmp_path), force=True, beat_seconds=0.02):
            second = holder(tmp_path)
            time.sleep(0.2)
            assert holder(tmp_path)["run"] == second["run"] != first["run"]


def test_a_run_keeps_its_lease_fresh(tmp_path: Path) -> None:
    with held(str(tmp_path), beat_seconds=0.02):
        deadline = time.monotonic() + 10
        while holder(tmp_path)["beat"] == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert holder(tmp_path)["beat"] != 0
