"""Weights are data, except TorchScript, for which a warning is logged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from shardsift.config import ScoreConfig
from shardsift.errors import ModelError
from shardsift.scoring.clip import load_clip
from shardsift.scoring.weights import with_default_weights


def test_torchscript_is_said_to_be_a_program(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(tmp_path / "weights.pt"))
    model = with_default_weights(ScoreConfig(model="compact")).model
    with pytest.raises(ModelError, match="not weights of"):
        load_clip(ScoreConfig(model=model, pretrained=str(tmp_path / "weights.pt")))
    assert "weights.pt: is TorchScript, a program that runs here with your rights" in caplog.text
