"""A mistake in a configuration is one line with a suggestion."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardsift.config import RunConfig, ScoreConfig, load_config
from shardsift.config.filter_settings import FilterConfig
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
        ("batchsize: 3", r"run.yaml:1: unknown key 'batchsize'; did you mean batch_size\?"),
        ("zebra: 3", "unknown key 'zebra'; known keys: "),
        ("model: RN50\nactors: 0", "run.yaml:2: actors 0: has to be 1 or more"),
        ("actors: 2.5", "actors 2.5: has to be a whole number"),
        ("actors: [1]", "actors: has to be a whole number"),
        ("shard_timeout: soon", "shard_timeout soon: has to be a number"),
        ("shard_timeout: 0", "shard_timeout 0: has to be more than 0"),
        ("box_cox_lambda: 6", "box_cox_lambda 6: has to be 5 or less"),
        ("overwrite: perhaps", "overwrite perhaps: has to be true or false"),
        ("output: 7", "output 7: has to be text; put it in quotes"),
        ("shards: 7", "shards 7: has to be a list"),
        ("crops: all", "crops all: is not among paper, fast, global"),
        ("dtype: float33", r"is not among .*; did you mean float32\?"),
        ("actors: 2\nactors: 3", "run.yaml:2: actors: stands in line 1, too"),
        ("prompts: [[good, bad], [sharp]]", "prompts: one is missing"),
        ("{dtype: float16, gpus_per_actor: 0}", "float16 is for GPUs; use bfloat16"),
        ("rescore: [blurry]", "rescore blurry: is not among errors, changed"),
        ("prompts: [[good, ' ']]", "run.yaml:1: prompts: a prompt is empty"),
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


def test_all_mistakes_of_a_file_are_told_at_once_by_their_lines(tmp_path: Path) -> None:
    file = yaml_file(tmp_path, "crop: fast\ndtype: float33\n\n# few\nactors: none\n")
    with pytest.raises(ConfigError) as caught:
        load_config(RunConfig, file, {"batch_size": "0"})
    told = sorted(str(caught.value).splitlines())
    assert [line.partition(";")[0] for line in told] == [
        "--batch-size 0: has to be 1 or more",
        f"{file}:1: unknown key 'crop'",
        f"{file}:2: dtype float33: is not among float32, bfloat16, float16, auto",
        f"{file}:5: actors none: has to be a whole number",
    ]


@pytest.mark.parametrize(
    ("typed", "share"), [("30%", 0.3), (" 0.3 ", 0.3), ("100 %", 1.0), ("1", 1.0), (0.5, 0.5)]
)
def test_a_share_may_be_written_as_a_percentage(typed: object, share: float) -> None:
    settings = {"annotations": "scores", "output": "kept", "keep_top": typed}
    assert load_config(FilterConfig, None, settings).keep_top == pytest.approx(share)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("30", "--keep-top 30: a share is between 0 and 1; did you mean 0.3, or 30%?"),
        ("101", "--keep-top 101: has to be 1 or less"),
        ("120%", "--keep-top 120%: has to be 1 or less"),
        ("0", "--keep-top 0: has to be more than 0"),
        ("most", "--keep-top most: is no share; write it as 0.3 or 30%"),
        ("x%", "--keep-top x%: is no share; write it as 0.3 or 30%"),
        ("nan", "--keep-top nan: "),
    ],
)
def test_what_is_no_share_is_told(typed: str, message: str) -> None:
    settings = {"annotations": "scores", "output": "kept", "keep_top": typed}
    with pytest.raises(ConfigError) as caught:
        load_config(FilterConfig, None, settings)
    assert str(caught.value).startswith(message)


def test_rules_that_do_not_go_together_are_told_by_their_flags() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(FilterConfig, None, {"annotations": "scores", "output": "kept"})
    assert str(caught.value) == "give one of --keep-top, --keep-count, --min-quality and --min"


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


def test_variables_win_over_the_file_and_flags_over_them(tmp_path: Path) -> None:
    file = yaml_file(tmp_path, "actors: 4\nbatch_size: 8\nmodel: compact\nshards: [a.tar]\n")
    environment = {
        "SHARDSIFT_ACTORS": "3",
        "SHARDSIFT_BATCH_SIZE": "16",
        "SHARDSIFT_SHARDS": "@some list.txt",
        "SHARDSIFT_HASHES": "sha256,phash",
        "SHARDSIFT_OVERWRITE": "1",
        "SHARDSIFT_MODEL": "",
        "ACTORS": "9",
    }
    settings = load_config(RunConfig, file, {"actors": "2"}, environment)
    assert (settings.actors, settings.batch_size, settings.model) == (2, 16, "compact")
    assert (settings.shards, settings.hashes) == (("@some list.txt",), ("sha256", "phash"))
    assert settings.overwrite


def test_a_mistake_in_a_variable_names_it() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(RunConfig, None, {}, {"SHARDSIFT_ACTORS": "many"})
    assert str(caught.value) == "SHARDSIFT_ACTORS many: has to be a whole number"
