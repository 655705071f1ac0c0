"""Every config in the box can be loaded, and says what it claims to say."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import RunConfig, load_settings
from pipeline.curation.reshard.settings import ReshardConfig
from pipeline.curation.settings import FilterConfig

FOLDER = Path(__file__).parents[1] / "configs"
CONFIGS = sorted(FOLDER.glob("*.yaml"))


def load(name: str) -> RunConfig:
    return load_settings(RunConfig, FOLDER / f"{name}.yaml")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_it_loads(path: Path) -> None:
    if path.stem == "filter":
        load_settings(FilterConfig, path, {"annotations": "scores", "output": "kept"})
    elif path.stem == "reshard":
        assert load_settings(ReshardConfig, path) == ReshardConfig(
            keep="corpus-kept", samples_per_shard=10_000
        )
    else:
        load_settings(RunConfig, path)


def test_the_default_config_is_the_default() -> None:
    assert load("default") == RunConfig(pretrained="openai")


@pytest.mark.parametrize("name", ["laptop", "demo"])
def test_no_gpu_and_no_download_is_needed(name: str) -> None:
    assert (load(name).model, load(name).gpus_per_actor, load(name).address) == ("compact", 0, None)


def test_a_node_with_8_gpus_gets_an_actor_on_each_and_joins_nobody() -> None:
    node = load("node-8gpu")
    assert (node.actors, node.gpus_per_actor, node.address) == (8, 1, None)


def test_a_cluster_is_joined_and_scores_as_one_node_does() -> None:
    assert load("cluster").address == "auto"
    assert load("cluster").scoring() == load("node-8gpu").scoring()
