"""Faults of a GPU: one line with the cause, no half-written file, no wrong row.

Each happens in a process of its own, for a GPU that has failed in one is lost to it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gpu.test_scores import DEVICE, needs_gpu
from tests.samples import encoded, write_tar

pytestmark = needs_gpu

_PROGRAM = """
import sys
import torch
from shardsift import ScoreConfig, Scorer
from shardsift.annotations.annotate import annotate
from shardsift.records import ShardTask
from shardsift.runs.scoring import load_maclip
from shardsift.config import RunConfig

device, tar, out = sys.argv[1:4]
config = RunConfig(model="compact", batch_size=256)
model = load_maclip(config)

def score():
    annotate(ShardTask(url=tar, shard="a.tar", annotation="a.parquet"), scorer, out)

{harm}
"""

_NO_MEMORY_AT_START = """
torch.cuda.set_per_process_memory_fraction(0.0005)
model.scorer(config, device)
"""
_NO_MEMORY_LATER = """
scorer = model.scorer(config, device)
torch.cuda.empty_cache()
free, total = torch.cuda.mem_get_info()
torch.cuda.set_per_process_memory_fraction(torch.cuda.memory_reserved() / total)
score()
"""
_ASSERTION = """
scorer = model.scorer(config, device)
torch.ones(4, device=device)[torch.tensor([9], device=device)]
score()
"""
_OTHER_WEIGHTS = """
with torch.no_grad():
    model.model.visual.trunk.conv_stem.weight.mul_(2)
model.scorer(config, device)
"""


@pytest.mark.parametrize(
    ("harm", "line"),
    [
        (_NO_MEMORY_AT_START, "DeviceError: NVIDIA .*: too little memory for batches of 256"),
        (_NO_MEMORY_LATER, "OutOfMemoryError: CUDA out of memory"),
        (_ASSERTION, "(Runtime|Accelerator)Error: CUDA error: device-side assert triggered"),
        (_OTHER_WEIGHTS, "DeviceError: features or scores differ by .* from a CPU's, in float32"),
    ],
    ids=["no memory at the start", "no memory later", "assertion", "other values"],
)
def test_a_gpu_that_fails_leaves_a_line_and_no_half_file(
    harm: str, line: str, tmp_path: Path
) -> None:
    tar = write_tar(tmp_path / "a.tar", [(f"{n}.jpg", encoded(seed=n)) for n in range(300)])
    out = tmp_path / "out"
    program = _PROGRAM.format(harm=harm)
    command = [sys.executable, "-c", program, DEVICE, str(tar), str(out)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 1
    said = [text for text in ended.stderr.splitlines() if "Error: " in text]
    assert any(re.search(line, text) for text in said), ended.stderr
    assert not list(out.rglob("*"))
