"""A process is itself, and no other that has its number."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from shardsift.storage.local import ProcessIdentity, is_running, this_process

ME = this_process()

pytestmark = pytest.mark.skipif(ME is None, reason="only Linux tells which process is which")


def test_a_process_knows_itself() -> None:
    assert ME
    assert ME.pid == os.getpid()
    assert is_running(ME)


def test_another_process_of_that_number_is_not_it() -> None:
    assert ME
    assert is_running(replace(ME, started=ME.started - 1)) is False


def test_a_process_that_has_ended_doesnt_run_though_nobody_has_heard_of_it() -> None:
    script = "from shardsift.storage.local import this_process as me; print(me())"
    ended = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert ended.stdout
    child: ProcessIdentity = eval(ended.stdout.read(), {"ProcessIdentity": ProcessIdentity})
    assert child.pid == ended.pid
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # it is dead, and still listed
    assert is_running(child) is False
    ended.wait()
    assert is_running(child) is False


def test_a_process_elsewhere_cant_be_seen() -> None:
    assert ME
    assert is_running(replace(ME, machine="00000000")) is None
    assert is_running(None) is None
