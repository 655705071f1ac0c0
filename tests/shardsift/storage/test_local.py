"""Only half-written files of our killed processes are deleted."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from shardsift.storage.local import appearing, is_leftover, sweep
from tests.outputs import left_by_a_dead_process

AN_HOUR_AGO = time.time() - 2 * 3600
UNKNOWN = f"_{'0' * 15}7.tmp"
"""Name of a temporary file on a system without process identities."""
ELSEWHERE = f"_{'0' * 47}7.tmp"
"""A process of another machine."""


def test_a_file_in_the_making_stays(tmp_path: Path) -> None:
    with appearing(tmp_path / "whole") as file:
        file.write(b"half")
        (half,) = tmp_path.iterdir()
        os.utime(half, (AN_HOUR_AGO, AN_HOUR_AGO))  # its process lives: it may just be slow
        sweep(tmp_path)
        assert half.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_what_a_dead_process_left_goes_at_once(tmp_path: Path) -> None:
    leftover = left_by_a_dead_process(tmp_path)
    sweep(tmp_path)
    assert not leftover.exists()


@pytest.mark.parametrize("name", [UNKNOWN, ELSEWHERE])
def test_what_a_process_elsewhere_left_goes_after_an_hour(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    sweep(tmp_path)
    assert (tmp_path / name).exists()
    os.utime(tmp_path / name, (AN_HOUR_AGO, AN_HOUR_AGO))
    sweep(tmp_path)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["_notes.tmp", "_0123.tmp", "_.tmp", "0123456789abcdef.tmp"])
def test_a_persons_own_file_stays_however_old(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    os.utime(tmp_path / name, (0, 0))
    assert not is_leftover(tmp_path / name)
    sweep(tmp_path)
    assert (tmp_path / name).exists()
