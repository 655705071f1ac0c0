"""A command that stood still until another had taken its folder over, and finished, writes nothing.

Two pid namespaces, so that neither can see whether the other's process lives, as on two machines.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import psutil
import pytest

from shardsift.storage.files import list_files
from tests.shardsift.resharding.corpora import plain_corpus

TIMES = 20

pytestmark = pytest.mark.skipif(
    "SHARDSIFT_TEST_CHAOS" not in os.environ, reason="make chaos runs it: a minute"
)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in sorted(list_files(str(folder)))}


def start(words: Sequence[str], *before: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*before, sys.executable, "-m", "shardsift", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def stopped_in_the_middle(
    words: Sequence[str], output: Path, delay: float
) -> subprocess.Popen[str]:
    """Start a command in a pid namespace of its own, and stop it while it holds its output."""
    while True:
        apart = start([*words, "--output", str(output)], "unshare", "--pid", "--fork")
        while not (output / "_running.json").exists() and apart.poll() is None:
            time.sleep(0.001)
        time.sleep(delay)
        for child in psutil.Process(apart.pid).children() if apart.poll() is None else []:
            child.send_signal(signal.SIGSTOP)
        if (output / "_running.json").exists():
            return apart
        apart.wait()  # it was too quick
        words = [*words, "--overwrite"] if "--overwrite" not in words else words


@pytest.mark.parametrize("verb", ["filter", "compact"])
def test_a_command_that_wakes_up_late_changes_no_byte(verb: str, tmp_path: Path) -> None:
    corpus = plain_corpus(tmp_path, shards=60, samples=3)
    words = [verb, str(corpus.scores), *(["--keep-top", "0.5"] if verb == "filter" else [])]
    random = Random(0)
    delays = [random.uniform(0, 0.08) for _ in range(TIMES)]

    def once(number: int) -> None:
        output = tmp_path / f"{verb}-{number}"
        late = stopped_in_the_middle(words, output, delays[number])
        other = start([*words, "--output", str(output)])
        told, _ = other.communicate(timeout=300)
        assert other.returncode == 0, told
        finished = contents(output)
        for child in psutil.Process(late.pid).children():
            child.send_signal(signal.SIGCONT)
        told, _ = late.communicate(timeout=120)
        assert contents(output) == {
            name: data for name, data in finished.items() if not name.endswith(".tmp")
        }
        assert late.returncode == 2, told

    with ThreadPoolExecutor(TIMES) as pool:
        list(pool.map(once, range(TIMES)))
