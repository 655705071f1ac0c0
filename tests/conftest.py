"""Fixtures for the whole suite."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from shardsift.config import ScoreConfig
from shardsift.records import RgbImage

# Ray's workers are nice to others by default, and would wait for tests that compute beside them.
os.environ.setdefault("RAY_worker_niceness", "0")

if "SHARDSIFT_TEST_FUZZ" not in os.environ:  # new examples are `make fuzz`'s; a check is repeatable
    settings.register_profile("repeatable", derandomize=True)
    settings.load_profile("repeatable")

_exit_status = pytest.StashKey[int]()

SHARED = Path(__file__).parents[2] / "shared"


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Remember how the tests went."""
    session.config.stash[_exit_status] = exitstatus


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End as `shardsift` does, and for the same reason: Python isn't torn down."""
    if _exit_status not in config.stash:
        return
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()
    config.get_terminal_writer().flush()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(config.stash[_exit_status])


@dataclass(frozen=True)
class Golden:
    """Results of the published code on twelve pictures, with a small CLIP of seeded weights."""

    config: ScoreConfig
    rows: list[dict[str, Any]]
    folder: Path

    def file(self, row: dict[str, Any]) -> Path:
        """The picture of a row."""
        return self.folder / row["image"]

    def image(self, row: dict[str, Any]) -> RgbImage:
        """The decoded picture of a row."""
        return np.asarray(Image.open(self.file(row)).convert("RGB"))


@pytest.fixture(scope="module")
def local_ray() -> None:
    """Ray on this machine, which pretends to have 4 CPUs and 2 GPUs.

    It is left for the next module that asks for it: to start it takes seconds. A module that needs
    another cluster calls `ray.shutdown` first.
    """
    import ray

    if not ray.is_initialized():
        ray.init(
            address="local", num_cpus=4, num_gpus=2, include_dashboard=False, log_to_driver=False
        )


@pytest.fixture(scope="session")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Golden:
    """The golden values; `config` points at their weights."""
    folder = SHARED / "golden"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not on this machine")
    expected = json.loads((folder / "expected.json").read_text())
    model = tmp_path_factory.mktemp("golden") / "model.json"
    model.write_text(json.dumps(expected["open_clip_config"]))
    config = ScoreConfig(model=str(model), pretrained=str(folder / "clip.safetensors"))
    return Golden(config=config, rows=expected["rows"], folder=folder)
