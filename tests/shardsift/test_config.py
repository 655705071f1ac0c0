"""A mistake in a configuration is one line that names what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardsift.config import RunConfig, ScoreConfig, load_config
from shardsift.errors import ConfigError


def yaml_file(folder: Path, content: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(content)
    return path


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    file = yaml_file(tmp_path, "actors: 4\nbatch-size: 8\n")
    settings = load_config(RunConfig, file, {"actors": 2})
    assert (settings.actors, settings.batch_size) == (2, 8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("batchsize: 3", "unknown key 'batchsize'; did you mean 'batch_size'?"),
        ("zebra: 3", "unknown key 'zebra'; known keys: "),
        ("actors: 0", r"actors: Input should be greater than or equal to 1 \(got 0\)"),
        ("crops: all", "crops: Input should be 'paper', 'fast', 'global' or 'dense'"),
        ("{dtype: float16, gpus_per_actor: 0}", "float16 is for GPUs; on CPUs take bfloat16"),
        ("retry_errors: [blurry]", "retry_errors.0: Input should be 'missing_image'"),
        ("prompts: [[good, ' ']]", "prompts: a prompt is empty"),
        ("- a list", "has to be a mapping"),
        ("a: [", "not YAML"),
        ("[" * 3000 + "]" * 3000, "is nested too deeply"),
        ("actors: 2026-99-99", "not YAML: month must be in"),
        ("actors: !!python/object:os.system {}", "not YAML: could not determine a constructor"),
        ("actors: " + "9" * 5000, "not YAML: Exceeds the limit"),
        ("\x00", "not YAML"),
        ("? [1]\n: 2", "not YAML"),
    ],
)
def test_a_mistake_gets_one_line(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(RunConfig, yaml_file(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml: can't be read: No such file"):
        load_config(RunConfig, tmp_path / "gone.yaml")


@pytest.mark.parametrize("name", sorted(set(ScoreConfig.model_fields) - {"model", "pretrained"}))
def test_everything_that_changes_a_score_changes_the_fingerprint(name: str) -> None:
    other = {
        "position_embedding": True,
        "prompts": (("good", "bad"),),
        "box_cox_lambda": 0.0,
        "base_sim": 0.9,
        "base_mag": 0.7,
        "alpha": 0.0,
        "crops": "global",
        "dtype": "float16",
        "max_pixels": 1000,
    }[name]
    changed = ScoreConfig.model_validate({name: other})
    assert changed.fingerprint("digest") != ScoreConfig().fingerprint("digest")


def test_names_paths_and_resources_dont_change_the_fingerprint() -> None:
    run = RunConfig(model="a.json", pretrained="b.pt", actors=9, batch_size=1, shards=("x.tar",))
    assert run.scoring().fingerprint("digest") == ScoreConfig().fingerprint("digest")


def test_the_weights_change_the_fingerprint() -> None:
    assert ScoreConfig().fingerprint("one") != ScoreConfig().fingerprint("other")


@pytest.mark.parametrize(
    ("settings", "workers"),
    [
        ({}, 0),
        ({"cpus_per_actor": 4}, 0),
        ({"cpus_per_actor": 5}, 3),
        ({"cpus_per_actor": 8, "gpus_per_actor": 0}, 0),
        ({"cpus_per_actor": 8, "decode_workers": 2}, 2),
        ({"cpus_per_actor": 8, "decode_workers": 0}, 0),
    ],
    ids=str,
)
def test_processes_decode_where_a_gpu_and_more_than_two_cores_wait_for_them(
    settings: dict[str, float], workers: int
) -> None:
    assert load_config(RunConfig, None, settings).decode_workers_of_actor() == workers
