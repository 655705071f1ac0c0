"""One command at a time writes into an output, and a dead one doesn't bar the way."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from shardsift.errors import OutputError
from shardsift.storage.lease import RUNNING, Lease, check_free, held
from shardsift.storage.local import this_process
from tests.outputs import edit_json

ELSEWHERE = {"machine": "00000000", "pid": 1, "started": 7}
"""A process that can't be seen from here, as that of a container of this host."""


def holder(folder: Path) -> dict[str, Any]:
    return json.loads((folder / RUNNING).read_text())


def leave_behind(folder: Path, host: str, process: dict[str, Any] | None) -> None:
    """Leave the lock of a command that was killed."""
    pid = process["pid"] if process else 1
    told = {"run": "a", "host": host, "pid": pid, "process": process, "beat": 3}
    (folder / RUNNING).write_text(json.dumps(told))


def test_a_second_command_is_told_of_the_first(tmp_path: Path) -> None:
    with held(str(tmp_path)), pytest.raises(OutputError, match=r"another command \(process \d+"):
        check_free(str(tmp_path))
    check_free(str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_of_many_that_begin_at_once_one_holds_the_folder(tmp_path: Path) -> None:
    together, ended = threading.Barrier(8), threading.Event()

    def try_it(number: int) -> bool:
        together.wait()
        try:
            with held(str(tmp_path)):
                ended.wait(0.3)
        except OutputError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(try_it, range(8))) == 1
    assert not list(tmp_path.iterdir())


def test_a_dead_command_of_this_machine_is_forgotten_at_once(tmp_path: Path) -> None:
    script = (
        "import os, sys; from shardsift.storage.lease import held\n"
        "with held(sys.argv[1]): os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert holder(tmp_path)["host"] == socket.gethostname()
    with held(str(tmp_path)):
        assert holder(tmp_path)["pid"] == os.getpid()


def test_its_own_number_in_a_container_that_began_anew_is_no_life(tmp_path: Path) -> None:
    me = this_process()
    assert me, "Linux tells"
    leave_behind(tmp_path, socket.gethostname(), asdict(replace(me, started=me.started - 1)))
    with held(str(tmp_path), beat_seconds=0.05):
        assert holder(tmp_path)["run"] != "a"


@pytest.mark.parametrize("process", [ELSEWHERE, None])
def test_a_silent_command_that_cant_be_seen_is_forgotten(
    process: dict[str, Any] | None, tmp_path: Path
) -> None:
    leave_behind(tmp_path, socket.gethostname(), process)
    with held(str(tmp_path), beat_seconds=0.05):
        assert holder(tmp_path)["pid"] == os.getpid()


@pytest.mark.parametrize("host", ["elsewhere", socket.gethostname()])
def test_one_that_beats_is_not(host: str, tmp_path: Path) -> None:
    """Another pid namespace of this host, too."""
    leave_behind(tmp_path, host, ELSEWHERE)
    threading.Timer(0.1, edit_json, (tmp_path / RUNNING,), {"beat": 4}).start()
    with pytest.raises(OutputError, match=f"on {host}"):
        check_free(str(tmp_path), beat_seconds=0.2)


def test_of_two_that_find_a_dead_one_the_last_holds_the_folder(tmp_path: Path) -> None:
    leave_behind(tmp_path, "elsewhere", ELSEWHERE)
    outcomes: list[bool] = []

    def try_it() -> None:
        try:
            with held(str(tmp_path), beat_seconds=0.3):
                time.sleep(0.3)
        except OutputError:
            outcomes.append(False)
        else:
            outcomes.append(True)

    threads = [threading.Thread(target=try_it) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False, True]


def test_a_forced_run_holds_on_and_the_first_leaves_it_alone(tmp_path: Path) -> None:
    with held(str(tmp_path), beat_seconds=0.02) as lease:
        first = holder(tmp_path)
        with held(str(tmp_path), force=True, beat_seconds=0.02):
            second = holder(tmp_path)
            time.sleep(0.2)
            assert holder(tmp_path)["run"] == second["run"] != first["run"]
            with pytest.raises(OutputError, match="taken over by another command"):
                lease.check()


def stand_still(lease: Lease) -> None:
    """Make a lease as old as if its process had been stopped for an hour."""
    vars(lease).update(lease.__getstate__())


def test_nothing_is_committed_once_another_has_taken_the_folder_over(tmp_path: Path) -> None:
    with held(str(tmp_path)) as lease:
        lease.guard()
        stand_still(lease)
        lease.guard()
        leave_behind(tmp_path, "elsewhere", ELSEWHERE)
        lease.guard()  # just confirmed
        stand_still(lease)
        with pytest.raises(OutputError, match="took it over while this one stood still"):
            lease.guard()
        (tmp_path / RUNNING).unlink()
        with pytest.raises(OutputError, match="took it over while this one stood still"):
            lease.guard()


def test_a_copy_in_an_actor_looks_before_its_first_commit(tmp_path: Path) -> None:
    with held(str(tmp_path)) as lease:
        copy = pickle.loads(pickle.dumps(lease))  # noqa: S301  # our own
        copy.guard()
        leave_behind(tmp_path, "elsewhere", ELSEWHERE)
        with pytest.raises(OutputError, match="took it over"):
            pickle.loads(pickle.dumps(lease)).guard()  # noqa: S301


def test_beside_a_forced_command_the_first_goes_on(tmp_path: Path) -> None:
    with held(str(tmp_path)) as lease:
        with held(str(tmp_path), force=True):
            stand_still(lease)
            lease.guard()
        stand_still(lease)
        lease.guard()


def test_a_run_keeps_its_lease_fresh(tmp_path: Path) -> None:
    with held(str(tmp_path), beat_seconds=0.02) as lease:
        deadline = time.monotonic() + 10
        while holder(tmp_path)["beat"] == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert holder(tmp_path)["beat"] != 0
        lease.check()


def test_a_folder_that_is_renamed_is_not_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with held(str(folder), beat_seconds=0.02) as lease:
        folder.rename(tmp_path / "renamed")
        time.sleep(0.1)
        with pytest.raises(OutputError, match="was renamed, deleted or taken over"):
            lease.check()
    assert not folder.exists()


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "7", '"a"', '{"pid": "x"}', "null", '{"run": 1, "host": [], "pid": 1}'],
)
def test_odd_contents_are_one_line(content: str, tmp_path: Path) -> None:
    (tmp_path / RUNNING).write_text(content)
    with pytest.raises(OutputError, match=r"_running\.json: can't be read .* delete it$") as error:
        check_free(str(tmp_path))
    assert "\n" not in str(error.value)


def test_what_becomes_odd_meanwhile_doesnt_end_the_command(tmp_path: Path) -> None:
    with held(str(tmp_path), beat_seconds=0.02):
        (tmp_path / RUNNING).write_text("{")
        time.sleep(0.1)
    assert (tmp_path / RUNNING).read_text() == "{"
