"""The compose file's commands, run as processes of this machine in place of containers.

Three nodes then share what containers have for themselves: an address, ports, a file system. So
names become that address, fixed ports free ones, and volumes a folder. `make chaos` runs it.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml

from tests.documentation import ROOT
from tests.ports import free_ports

pytestmark = pytest.mark.skipif(
    "SHARDSIFT_TEST_CHAOS" not in os.environ, reason="make chaos runs it; a minute"
)

SERVICES = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
PATIENCE_SECONDS = 180
SHARED_PORTS = {"6379", "8265"}
"""By which services know each other; the others are each node's own."""


class Composed:
    """Processes in place of the file's services."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shared = dict(zip(sorted(SHARED_PORTS), map(str, free_ports(2)), strict=True))
        self._environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
        }
        self.started: list[subprocess.Popen[bytes]] = []

    def command_of(self, words: list[str]) -> list[str]:
        """A command as it runs here."""
        changed = [re.sub(r"\b(head|localhost)\b(?=:)", "127.0.0.1", word) for word in words]
        changed = [word.replace("=/data", f"={self._folder}") for word in changed]
        return [self._with_free_port(word) for word in changed if "worker-port" not in word]

    def _with_free_port(self, word: str) -> str:
        for known, here in self._shared.items():
            word = re.sub(rf"(?<=[:=]){known}$", here, word)
        own = re.fullmatch(r"(--[a-z-]+-port)=\d+", word)
        return f"{own[1]}={free_ports(1)[0]}" if own and "dashboard" not in word else word

    def start(self, service: Any) -> None:
        """Start a service, and wait until its health check passes."""
        command = self.command_of(service["command"])
        if "--head" in command:
            command += ["--node-ip-address=127.0.0.1"]
        with (self._folder / f"log{len(self.started)}").open("wb") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=self._environment
            )
        self.started.append(process)
        kind, *check = service["healthcheck"]["test"]
        assert kind == "CMD"
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.run(check).returncode:
            assert time.monotonic() < deadline
            assert process.poll() is None

    def run(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a command that ends."""
        return subprocess.run(
            self.command_of(words),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env=self._environment,
            timeout=PATIENCE_SECONDS,
        )


@pytest.fixture
def composed(tmp_path: Path) -> Iterator[Composed]:
    ray.shutdown()  # another module may have left its own, whose agent has the same port
    services = Composed(tmp_path)
    yield services
    for process in reversed(services.started):
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_SECONDS)


def test_a_head_and_two_workers_run_the_demo(composed: Composed, tmp_path: Path) -> None:
    composed.start(SERVICES["head"])
    for _ in range(SERVICES["worker"]["deploy"]["replicas"]):
        composed.start(SERVICES["worker"])
    done = composed.run(SERVICES["demo"]["command"])
    sys.stdout.write(done.stdout)
    assert done.returncode == 0, done.stdout
    assert "succeeded" in done.stdout
    assert list((tmp_path / "demo").rglob("*.parquet"))
