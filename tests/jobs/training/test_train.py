"""The recipe's command: what its flags and its file of settings decide."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from jobs.training import train
from jobs.training.trainer import TrainConfig
from tests.samples import encoded, tar_bytes


@pytest.mark.parametrize(
    ("flags", "expected"), [([], (7, 3)), (["--steps", "5"], (5, 3)), (["--seed", "0"], (7, 0))]
)
def test_flags_win_over_the_file_and_it_over_the_defaults(
    flags: list[str], expected: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: list[TrainConfig] = []

    class Noted:
        def __init__(self, config: TrainConfig, *_: object) -> None:
            settings.append(config)
            raise KeyboardInterrupt

    monkeypatch.setattr(train, "Trainer", Noted)
    (tmp_path / "photos.tar").write_bytes(
        tar_bytes([(f"{n}.jpg", encoded(seed=n)) for n in range(2)])
    )
    (tmp_path / "recipe.yaml").write_text("steps: 7\nseed: 3\n")
    app = typer.Typer()
    app.command()(train.train)
    line = ["--shards", str(tmp_path / "photos.tar"), "--output", str(tmp_path / "out")]
    line += ["--config", str(tmp_path / "recipe.yaml"), "--held-out", "1", *flags]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 130, done.output
    assert [(config.steps, config.seed) for config in settings] == [expected]
