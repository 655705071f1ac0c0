"""If a machine lacks resources for Ray, one line says so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.samples import write_shards

pytestmark = pytest.mark.skipif(
    "SHARDSIFT_TEST_CHAOS" not in os.environ, reason="make chaos runs it: two minutes"
)

SCORE = f"{sys.executable} -m shardsift score in --output out --config laptop --cpus-per-actor 1"

FULL = "mkdir full; mount -t tmpfs -o size=64k tmpfs full"


def start(folder: Path, command: str, more: Mapping[str, str]) -> subprocess.Popen[str]:
    write_shards(folder / "in", 1, samples=2)
    return subprocess.Popen(
        ["bash", "-c", command],
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=os.environ | more,
        start_new_session=True,
    )


@pytest.mark.parametrize(
    ("before", "told"),
    [
        ("ulimit -v 12000000", "this shell allows 12.3 GB of address space"),
        (f"{FULL}; export TMPDIR=$PWD/full", "/full: has 0.1 MB free"),
        (f"{FULL}; export RAY_TMPDIR=$PWD/full", "/full: has 0.1 MB free"),
    ],
    ids=["address space", "TMPDIR", "Ray's folder"],
)
def test_what_ray_lacks_is_one_line(before: str, told: str, tmp_path: Path) -> None:
    process = start(tmp_path, f"unshare --mount bash -c '{before}; {SCORE}'", {})
    _, said = process.communicate(timeout=60)
    if "unshare" in said or "mount:" in said:
        pytest.skip(said)
    assert (process.returncode, len(said.splitlines())) == (2, 1), said
    assert told in said


def test_the_memory_monitor_is_named_as_the_cause(tmp_path: Path) -> None:
    few = {"RAY_memory_usage_threshold": "0.01", "RAY_memory_monitor_refresh_ms": "100"}
    process = start(tmp_path, f"exec {SCORE}", few)
    assert process.stderr
    deadline = time.monotonic() + 150
    said = ""
    while "Ray's memory monitor kills workers" not in said:
        assert time.monotonic() < deadline, said
        said += process.stderr.readline()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
