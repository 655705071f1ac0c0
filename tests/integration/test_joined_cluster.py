"""Runs on a Ray cluster that somebody else started, on nodes that don't have Shardsift."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.environments import make_bare_environment
from tests.ports import free_ports
from tests.samples import write_shards

SHARDS, SAMPLES = 4, 3
ROOT = Path(__file__).parents[2]
RAY = str(Path(sys.executable).with_name("ray"))

_PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Head:
    """The first node of a cluster: where jobs are submitted, and the environment of its users."""

    dashboard: str
    environment: dict[str, str]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command as a user of the cluster; its stdout has stderr, too."""
        return subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd=ROOT,
            env=self.environment,
            timeout=_PATIENCE_SECONDS,
        )


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """A cluster with a token, for Ray listens on all interfaces, on ports of its own."""
    commands = make_bare_environment(tmp_path_factory.mktemp("environment"))
    port, dashboard, client, agent = free_ports(4)
    environment = os.environ | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_ADDRESS": f"127.0.0.1:{port}",
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
    }
    command = [str(commands / "python"), "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    command += [f"--port={port}", "--num-cpus=2"]
    command += ["--include-dashboard=true", f"--dashboard-port={dashboard}"]
    command += ["--dashboard-host=127.0.0.1", "--node-ip-address=127.0.0.1"]
    command += [f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}"]
    log = tmp_path_factory.mktemp("head") / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while "Ray runtime started" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield Head(f"http://127.0.0.1:{dashboard}", environment)
    finally:
        process.send_signal(signal.SIGTERM)  # it takes its children along
        process.wait(_PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shards(tmp_path_factory.mktemp("in"), SHARDS, SAMPLES)


def check_annotated(out: Path) -> None:
    assert pq.read_table(out).num_rows == SHARDS * SAMPLES
    assert (out / "_summary.json").exists()


def test_a_running_cluster_is_joined(head: Head, shards: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.command", "score", str(shards)]
    command += ["--output", str(tmp_path), "--gpus-per-actor", "0", "--address", "auto"]
    rehearsal = head.run(*command, "--dry-run")
    assert "would score 4 of 4 shards with 2 actors" in rehearsal.stdout
    done = head.run(*command)
    assert (done.returncode, "scored 12 of 12 images" in done.stdout) == (0, True), done.stdout
    check_annotated(tmp_path)


@pytest.mark.skipif("SHARDSIFT_TEST_CHAOS" not in os.environ, reason="make chaos runs it: 30 s")
def test_a_job_is_submitted_from_a_checkout(head: Head, shards: Path, tmp_path: Path) -> None:
    submit = [RAY, "job", "submit", "--address", head.dashboard, "--working-dir", "."]
    job = ["python", "jobs/shardsift.py", "score", str(shards), "--output", str(tmp_path)]
    job += ["--model", "compact", "--gpus-per-actor", "0", "--actors", "1"]
    done = head.run(*submit, "--", *job)
    assert (done.returncode, "scored 12 of 12 images" in done.stdout) == (0, True), done.stdout
    check_annotated(tmp_path)


def test_a_job_with_modules_of_its_own_is_a_mistake(
    head: Head, shards: Path, tmp_path: Path
) -> None:
    job = json.dumps({"runtime_env": {"py_modules": ["gcs://theirs.zip"]}})
    submitted = Head(head.dashboard, head.environment | {"RAY_JOB_CONFIG_JSON_ENV_VAR": job})
    command = [sys.executable, "-m", "tests.command", "score", str(shards)]
    done = submitted.run(*command, "--output", str(tmp_path), "--gpus-per-actor", "0")
    assert "this job has py_modules" in done.stdout
    assert (done.returncode, len(done.stdout.splitlines())) == (2, 1), done.stdout


def test_a_cluster_that_isnt_there_is_a_mistake(shards: Path, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    nowhere = Head("", os.environ | {"RAY_AUTH_MODE": "disabled"})
    command = [sys.executable, "-m", "tests.command", "score", str(shards)]
    command += ["--output", str(tmp_path), "--address", f"127.0.0.1:{port}"]
    done = nowhere.run(*command)
    assert f"--address 127.0.0.1:{port}: no Ray cluster" in done.stdout
    assert (done.returncode, len(done.stdout.splitlines())) == (2, 1), done.stdout
