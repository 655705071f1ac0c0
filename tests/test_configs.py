"""Every config in the box can be loaded, and says what it claims to say."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import RunConfig, load_settings

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_it_loads(path: Path) -> None:
    load_settings(RunConfig, path)


def test_the_default_config_is_the_default() -> None:
    (path,) = [path for path in CONFIGS if path.name == "default.yaml"]
    assert load_settings(RunConfig, path) == RunConfig(pretrained="openai")
