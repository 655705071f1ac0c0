"""Runs that stop where a test wants them to, however fast the machine."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_PATIENCE_SECONDS = 300


class Web(ThreadingHTTPServer):
    """Serves a folder of shards; the one of number `held`, once its gate is open."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, folder: Path, held: int) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
        self.folder = folder
        self.held = f"/{held:05}.tar"
        self.shut_gate()

    def shut_gate(self) -> None:
        """Keep the held shard back; `asked` is set once somebody wants it."""
        self.gate, self.asked = threading.Event(), threading.Event()

    def open_gate(self) -> None:
        """Send the held shard to waiting clients."""
        self.gate.set()

    @property
    def shards(self) -> str:
        """All of them, by a pattern with braces."""
        last = max(self.folder.glob("*.tar")).stem
        return f"http://127.0.0.1:{self.server_port}/{{00000..{last}}}.tar"


class _Handler(SimpleHTTPRequestHandler):
    server: Web  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        if self.path == self.server.held:
            gate = self.server.gate
            self.server.asked.set()
            gate.wait()
        try:
            super().do_GET()
        except ConnectionError:
            self.close_connection = True  # the run that asked is gone

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing."""


class Command:
    """`python -m …` as a separate process, and its output."""

    def __init__(self, words: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", *words],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
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
        """Wait while it runs, until something is so."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not met():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)
