"""A run that is stopped or run twice: the result is that of an undisturbed one, bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.lease import RUNNING
from tests.samples import write_shards

pytestmark = pytest.mark.skipif(
    "SHARDSIFT_CHAOS" not in os.environ, reason="make chaos runs it: it depends on timing"
)

SHARDS, SAMPLES = 20, 6

Files = dict[str, tuple[int, bytes]]
"""Modification time and content of each annotation."""


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shards(tmp_path_factory.mktemp("in"), SHARDS, SAMPLES)


@pytest.fixture(scope="module")
def undisturbed(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Files:
    out = tmp_path_factory.mktemp("undisturbed")
    code, log = end(start(shards, out))
    assert code == 0, log
    return files_of(out)


def start(shards: Path, out: Path, *flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "jobs.score", str(shards), "--output", str(out), *flags]
    command += ["--model", "compact", "--gpus-per-actor", "0", "--actors", "1"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


def end(run: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code, and what was said."""
    _, log = run.communicate()
    return run.returncode, log


def files_of(out: Path) -> Files:
    paths = out.glob("[!_]*.parquet")
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def contents(files: Files) -> dict[str, bytes]:
    return {name: content for name, (_, content) in files.items()}


def wait_for(run: subprocess.Popen[str], out: Path, count: int) -> None:
    while len(files_of(out)) < count:
        assert run.poll() is None, run.stderr and run.stderr.read()
        time.sleep(0.01)


def check_goes_on(shards: Path, out: Path, undisturbed: Files) -> None:
    """The same command does what is left, and nothing twice."""
    before = files_of(out)
    assert 0 < len(before) < SHARDS
    assert not (out / "_summary.json").exists()
    code, log = end(start(shards, out))
    assert code == 0, log
    after = files_of(out)
    assert {name: after[name] for name in before} == before, "a committed shard was scored twice"
    assert contents(after) == contents(undisturbed)
    rows = pq.read_table(out, columns=["shard", "index"]).to_pylist()
    assert len({(row["shard"], row["index"]) for row in rows}) == len(rows) == SHARDS * SAMPLES
    assert (out / "_summary.json").exists()
    assert not list(out.rglob("*.tmp"))


def test_a_killed_run_goes_on(shards: Path, tmp_path: Path, undisturbed: Files) -> None:
    run = start(shards, tmp_path)
    wait_for(run, tmp_path, SHARDS // 2)
    run.kill()
    run.wait()
    time.sleep(2)  # Ray's processes notice that their driver is gone
    check_goes_on(shards, tmp_path, undisturbed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_ends_well_and_goes_on(
    number: signal.Signals, shards: Path, tmp_path: Path, undisturbed: Files
) -> None:
    run = start(shards, tmp_path)
    wait_for(run, tmp_path, 3)
    run.send_signal(number)
    code, log = end(run)
    left = SHARDS - len(files_of(tmp_path))
    assert code == 130, log
    assert "shards under way are finished first; once more stops at once" in log
    assert f"stopped: the same command goes on with the other {left} shards" in log
    assert "Traceback" not in log
    assert not (tmp_path / RUNNING).exists()
    check_goes_on(shards, tmp_path, undisturbed)


def test_a_second_signal_stops_at_once(shards: Path, tmp_path: Path) -> None:
    run = start(shards, tmp_path)
    wait_for(run, tmp_path, 1)
    run.send_signal(signal.SIGINT)
    time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    code, log = end(run)
    assert code == 130, log
    assert "interrupted; the same command goes on" in log or "stopped: the same command" in log
    assert "Traceback" not in log


def test_a_second_run_is_refused_and_harmless_if_forced(
    shards: Path, tmp_path: Path, undisturbed: Files
) -> None:
    first = start(shards, tmp_path)
    while not (tmp_path / RUNNING).exists():
        assert first.poll() is None, first.stderr and first.stderr.read()
        time.sleep(0.01)
    forced = start(shards, tmp_path, "--force")
    code, log = end(start(shards, tmp_path))
    assert code == 2
    assert "another run (process" in log
    assert {end(first)[0], end(forced)[0]} == {0}
    assert contents(files_of(tmp_path)) == contents(undisturbed)
