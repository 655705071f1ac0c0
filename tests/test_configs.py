"""Every config in the box can be loaded, and says what it claims to say."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardsift.config import RunConfig, bundled_configs, load_config
from shardsift.curation.filter_config import FilterConfig
from shardsift.errors import ConfigError
from shardsift.reshard.reshard_config import ReshardConfig

CONFIGS = bundled_configs()


def load(name: str) -> RunConfig:
    return load_config(RunConfig, name)


@pytest.mark.parametrize("name", CONFIGS)
def test_it_loads(name: str) -> None:
    if name == "filter":
        load_config(FilterConfig, name, {"annotations": "scores", "output": "kept"})
    elif name == "reshard":
        assert load_config(ReshardConfig, name) == ReshardConfig(
            keep="corpus-kept", samples_per_shard=10_000
        )
    else:
        load_config(RunConfig, name)


def test_a_file_of_the_same_name_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "laptop").write_text("batch_size: 3\n")
    monkeypatch.chdir(tmp_path)
    assert load("laptop") == RunConfig(batch_size=3)


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"--config lapptop: neither a file nor one of .*laptop"):
        load("lapptop")


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
