"""Measurements of GPUs can be tried without one."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
import torch
from rich.console import Console

from jobs.bench.gpu import GpuConfig, measure
from shardsift.errors import InputError


@pytest.mark.skipif("SHARDSIFT_TEST_BENCH" not in os.environ, reason="make bench runs it: 20 s")
def test_the_encoder_and_a_shard_are_measured(tmp_path: Path) -> None:
    shown = io.StringIO()
    config = GpuConfig(
        device="cpu",
        output=tmp_path,
        images=2,
        seconds=0.01,
        sizes=("230x224",),
        plans=("global",),
        actors=(1, 2),
        dtypes=("float32",),
        batch_sizes=(2,),
        decode_workers=0,
    )
    measure(config, Console(file=shown, width=100))
    found = json.loads((tmp_path / "gpu.json").read_text())
    (encoder,) = found["encoder"]
    alone, together = found["shards"]
    assert encoder["crops_per_second"] > 0
    assert 0 < encoder["share_of_peak"] < 2
    assert (alone["size"], alone["plan"], alone["actors"]) == ("230x224", "global", 1)
    assert alone["busy"].keys() == {"read", "decode", "score", "write"}
    assert together["actors"] == 2
    assert together["share_of_encoder"] > 0
    assert "230x224" in shown.getvalue()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--device cuda: this torch .* sees no GPU"):
        measure(GpuConfig(output=tmp_path), Console(file=io.StringIO()))
    assert not list(tmp_path.iterdir())
