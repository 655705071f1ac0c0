"""Every included config can be loaded, and has the settings that its comments claim."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardsift.cli.catalogue import VERBS
from shardsift.config import Config, RunConfig, bundled_configs, fields_by_key, load_config
from shardsift.config.filter_settings import FilterConfig
from shardsift.config.verb_settings import ReshardConfig
from shardsift.errors import ConfigError

CONFIGS = bundled_configs()


def load(name: str) -> RunConfig:
    return load_config(RunConfig, name)


def mistakes(kind: type[Config], name: str, others: set[str]) -> str:
    try:
        load_config(kind, name, others=others)
    except ConfigError as error:
        return str(error)
    return ""


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


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", ["laptop", "cluster", "filter", "reshard"])
def test_every_verb_passes_over_the_keys_of_others(verb: str, name: str) -> None:
    known = set[str]().union(*(fields_by_key(other.config) for other in VERBS.values()))
    told = mistakes(VERBS[verb].config, name, known)
    assert "unknown key" not in told  # others are of what has to be given on the command line


def test_a_key_that_no_verb_knows_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("modle: compact\nkeep_top: 0.3\n")
    with pytest.raises(ConfigError, match=r"run.yaml:1: unknown key 'modle'; did you mean model"):
        load_config(RunConfig, tmp_path / "run.yaml", others={"keep_top"})


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
