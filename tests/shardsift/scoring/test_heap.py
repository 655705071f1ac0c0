"""Memory that batches hand on to each other."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
from resource import RUSAGE_SELF, getrusage
import torch
from shardsift.threads import keep_heap

keep_heap()
for _ in range(40):  # malloc finds its feet
    before = getrusage(RUSAGE_SELF).ru_minflt
    torch.ones(16, 64, 112, 112)  # RN50's largest feature map
print(getrusage(RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="what is set is glibc's")
def test_a_batch_finds_its_memory_where_the_last_one_left_it() -> None:
    command = [sys.executable, "-c", SCRIPT]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert int(said) < 100, "page faults; 51 MB are 12,544 pages"
