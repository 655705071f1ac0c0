"""A run that is stopped or run twice: the result is that of an undisturbed one, bit for bit.

The shards come from a web server that keeps one of them back until a test says so: every run is
stopped at the same place, however fast the machine.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.lease import RUNNING
from tests.samples import write_shards

SHARDS, SAMPLES = 20, 6
HELD = 10
"""The shard that is kept back: one actor commits as many before it."""

CHAOS = "SHARDSIFT_CHAOS" in os.environ
"""With the bundled model in place of the fake scorer."""

_PATIENCE_SECONDS = 300

Files = dict[str, tuple[int, bytes]]
"""Modification time and content of each annotation."""


class Web(ThreadingHTTPServer):
    """Serves a folder of shards; the held one, once its gate is open."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
        self.shut_gate()

    def shut_gate(self) -> None:
        self.gate, self.asked = threading.Event(), threading.Event()

    def open_gate(self) -> None:
        self.gate.set()

    @property
    def shards(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/{{00000..{SHARDS - 1:05}}}.tar"


class _Handler(SimpleHTTPRequestHandler):
    server: Web  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        if self.path == f"/{HELD:05}.tar":
            gate = self.server.gate
            self.server.asked.set()
            gate.wait()
        try:
            super().do_GET()
        except ConnectionError:
            self.close_connection = True  # the run that asked is gone

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    server = Web(write_shards(tmp_path_factory.mktemp("in"), SHARDS, SAMPLES))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def web(server: Web) -> Iterator[Web]:
    """The server with its gate shut."""
    server.shut_gate()
    yield server
    server.open_gate()


class Run:
    """A run as a process of its own."""

    def __init__(self, web: Web, out: Path, *flags: str) -> None:
        # The fake scorer loads no torch, which would take most of the time.
        module = ["jobs.score", "--model", "compact"] if CHAOS else ["tests.command", "score"]
        command = [sys.executable, "-m", *module, web.shards, "--output", str(out), *flags]
        command += ["--gpus-per-actor", "0", "--actors", "1"]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        self._lines.extend(iter(self.process.stderr.readline, ""))

    @property
    def log(self) -> str:
        return "".join(self._lines)

    def end(self) -> int:
        """The exit code, once there is one."""
        code = self.process.wait(_PATIENCE_SECONDS)
        self._reader.join()
        return code

    def until(self, met: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not met():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)


def start_and_hold(web: Web, out: Path) -> Run:
    """A run that scores the held shard and has committed all before it."""
    run = Run(web, out)
    run.until(lambda: web.asked.is_set() and len(files_of(out)) == HELD)
    return run


def files_of(out: Path) -> Files:
    paths = out.glob("[!_]*.parquet")
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def contents(out: Path) -> dict[str, bytes]:
    return {name: content for name, (_, content) in files_of(out).items()}


@pytest.fixture(scope="module")
def undisturbed(server: Web, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run writes that nobody disturbs."""
    out = tmp_path_factory.mktemp("undisturbed")
    server.open_gate()
    run = Run(server, out)
    assert run.end() == 0, run.log
    return contents(out)


def test_a_second_run_is_refused_and_a_killed_one_goes_on(
    undisturbed: dict[str, bytes], web: Web, tmp_path: Path
) -> None:
    run = start_and_hold(web, tmp_path)
    second = Run(web, tmp_path)
    assert second.end() == 2
    assert f"another run (process {run.process.pid} on" in second.log
    run.process.kill()
    run.end()
    assert not (tmp_path / "_summary.json").exists()
    before = files_of(tmp_path)
    web.open_gate()
    again = Run(web, tmp_path)
    assert again.end() == 0, again.log
    after = files_of(tmp_path)
    assert {name: after[name] for name in before} == before, "a committed shard was scored twice"
    assert contents(tmp_path) == undisturbed
    rows = pq.read_table(tmp_path, columns=["shard", "index"]).to_pylist()
    assert len({(row["shard"], row["index"]) for row in rows}) == len(rows) == SHARDS * SAMPLES
    assert (tmp_path / "_summary.json").exists()
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_signal_lets_the_shard_under_way_finish(
    undisturbed: dict[str, bytes], web: Web, tmp_path: Path
) -> None:
    run = start_and_hold(web, tmp_path)
    run.process.send_signal(signal.SIGTERM)
    run.until(lambda: "shards under way are finished first; once more stops at once" in run.log)
    web.open_gate()
    assert run.end() == 130, run.log
    left = SHARDS - HELD - 1
    assert f"stopped: the same command goes on with the other {left} shards" in run.log
    assert "Traceback" not in run.log
    assert f"{HELD:05}.parquet" in contents(tmp_path)
    assert contents(tmp_path).items() <= undisturbed.items()
    assert not (tmp_path / RUNNING).exists()
    assert not (tmp_path / "_summary.json").exists()


@pytest.mark.skipif(not CHAOS, reason="make chaos runs it: 15 s")
def test_a_second_signal_stops_at_once_and_says_how_to_go_on(web: Web, tmp_path: Path) -> None:
    run = start_and_hold(web, tmp_path)
    run.process.send_signal(signal.SIGINT)
    run.until(lambda: "once more stops at once" in run.log)
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 130, run.log
    assert "interrupted; the same command goes on" in run.log
    assert "Traceback" not in run.log
    assert len(files_of(tmp_path)) == HELD
    assert not (tmp_path / RUNNING).exists()


@pytest.mark.skipif(not CHAOS, reason="make chaos runs it: 40 s")
def test_a_second_run_is_harmless_if_forced(
    undisturbed: dict[str, bytes], web: Web, tmp_path: Path
) -> None:
    first = start_and_hold(web, tmp_path)
    forced = Run(web, tmp_path, "--force")
    forced.until(lambda: f'"pid": {forced.process.pid}' in (tmp_path / RUNNING).read_text())
    web.open_gate()
    assert (first.end(), forced.end()) == (0, 0), first.log + forced.log
    assert contents(tmp_path) == undisturbed
