"""The batch script for Slurm, with stand-ins for `srun` and `scontrol`: nodes are processes here.

Ray's cluster of two nodes is a real one. It starts Ray as users do, and is stopped by signals that
depend on timing, so `make chaos` runs it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.samples import write_shards

pytestmark = pytest.mark.skipif(
    "SHARDSIFT_TEST_CHAOS" not in os.environ, reason="make chaos runs it; a minute"
)

SCRIPT = Path(__file__).parents[3] / "jobs" / "slurm" / "score.sbatch"
SHARDS, SAMPLES = 12, 8
PATIENCE_SECONDS = 180

SRUN = r"""#!/usr/bin/env bash
# Run a command once for each node of a step, here.
echo "srun $*" >> "$SLURM_STAND_IN_LOG"
nodes=1
while [[ $1 == --* ]]; do
    [[ $1 == --nodes=* ]] && nodes=${1#*=}
    shift
done
trap 'kill $(jobs -p)' TERM
for ((node = 0; node < nodes; node++)); do "$@" & done
wait
"""
SCONTROL = r"""#!/usr/bin/env bash
echo "scontrol $*" >> "$SLURM_STAND_IN_LOG"
[[ $1 == show ]] && printf 'node-a\nnode-b\n'
exit 0
"""


@dataclass(frozen=True)
class Slurm:
    """A cluster of two nodes with a core each, as far as the script can tell."""

    folder: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def calls(self) -> str:
        return (self.folder / "calls").read_text()

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def submit(self, *arguments: str) -> subprocess.Popen[bytes]:
        path = [self.folder / "bin", Path(sys.executable).parent, os.environ["PATH"]]
        environment = os.environ | {
            "PATH": os.pathsep.join(map(str, path)),
            "SLURM_STAND_IN_LOG": str(self.folder / "calls"),
            "SLURM_JOB_ID": str(os.getpid()),  # a port and a folder follow from it
            "SLURM_JOB_NODELIST": "node-[a-b]",
            "SLURM_CPUS_PER_TASK": "1",
        }
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                ["bash", SCRIPT, *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        self.started.append(process)
        return process


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Slurm]:
    (tmp_path / "bin").mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    cluster = Slurm(tmp_path)
    yield cluster
    for process in cluster.started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def processes_of_ray() -> bytes:
    command = ["pgrep", "-f", f"ray-{os.getpid()}/"]
    return subprocess.run(command, capture_output=True, check=False).stdout


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    shards = str(write_shards(tmp_path / "in", SHARDS, SAMPLES))
    settings = ["--model", "compact", "--gpus-per-actor", "0"]
    return [shards, "--output", str(tmp_path / "out"), *settings]


def test_two_nodes_score_and_ray_is_gone_afterwards(slurm: Slurm, arguments: list[str]) -> None:
    assert slurm.submit(*arguments).wait(PATIENCE_SECONDS) == 0, slurm.log
    assert pq.read_table(slurm.folder / "out").num_rows == SHARDS * SAMPLES
    assert slurm.calls.count("ray start") == 2
    assert "with 2 actors" in slurm.log, "each node has a core, and each actor takes one"
    wait_until(lambda: not processes_of_ray())


def test_it_is_queued_again_before_its_time_is_over_and_goes_on(
    slurm: Slurm, arguments: list[str]
) -> None:
    job = slurm.submit(*arguments)
    wait_until(lambda: list(slurm.folder.glob("out/*.parquet")))
    os.kill(job.pid, signal.SIGUSR1)
    assert job.wait(PATIENCE_SECONDS) == 130, slurm.log
    assert f"scontrol requeue {os.getpid()}" in slurm.calls
    done = len(list(slurm.folder.glob("out/*.parquet")))
    assert 0 < done < SHARDS
    assert slurm.submit(*arguments).wait(PATIENCE_SECONDS) == 0, slurm.log
    assert pq.read_table(slurm.folder / "out").num_rows == SHARDS * SAMPLES


def test_a_cancelled_job_ends_well_and_is_not_queued_again(
    slurm: Slurm, arguments: list[str]
) -> None:
    job = slurm.submit(*arguments)
    wait_until(lambda: list(slurm.folder.glob("out/*.parquet")))
    os.kill(job.pid, signal.SIGTERM)
    assert job.wait(PATIENCE_SECONDS) == 130, slurm.log
    assert "requeue" not in slurm.calls


def test_a_mistake_is_told_with_its_exit_code(slurm: Slurm, arguments: list[str]) -> None:
    code = slurm.submit("nowhere.tar", *arguments[1:]).wait(PATIENCE_SECONDS)
    assert code == 2
    assert "nowhere.tar" in slurm.log
