"""The record of a run has the settings, but never makes code run or chooses a filesystem."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shardsift.cli.app import main
from shardsift.config import ScoreConfig
from shardsift.errors import InputError
from shardsift.outputs.json_records import RunRecord, recorded_config
from tests.fakes import FakeScorer
from tests.outputs import edit_json, write_run
from tests.samples import write_shards


def record_of(**settings: Any) -> RunRecord:
    config = ScoreConfig(**settings).model_dump(mode="json")
    return RunRecord(config=config, measures={}, root="/c", inputs=("/c",), version="0")


def test_settings_are_those_of_the_run() -> None:
    record = record_of(model="ViT-B/32", pretrained="laion2b_s34b_b79k", box_cox_lambda=0.3)
    assert recorded_config(record) == ScoreConfig(
        model="ViT-B/32", pretrained="laion2b_s34b_b79k", box_cox_lambda=0.3
    )


def test_the_recorded_model_keeps_its_weights_and_another_has_its_own() -> None:
    """A run without a network would have tried to download local files."""
    record = record_of(model="RN50", pretrained="yfcc15m")
    assert recorded_config(record, model="RN50").pretrained == "yfcc15m"
    assert recorded_config(record, model="RN101").pretrained is None
    moved = recorded_config(record, model="RN50", pretrained="/elsewhere.pt")
    assert (moved.model, moved.pretrained) == ("RN50", "/elsewhere.pt")
    assert recorded_config(record, pretrained="/elsewhere.pt").model == "RN50"


STRANGE = [
    {"pretrained": "/tmp/x.pt"},
    {"pretrained": "x.safetensors"},
    {"pretrained": "../x"},
    {"pretrained": "weights"},  # a file beside the user, and a name of no tag
    {"model": "m.json", "pretrained": "openai"},
    {"model": "hf-hub:stranger/clip"},
    {"model": "local-dir:/tmp/x"},
]
"""Models that a stranger's record may name to have them loaded."""


@pytest.mark.parametrize("settings", STRANGE, ids=str)
def test_a_model_that_a_record_alone_names_is_never_loaded(
    settings: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").write_bytes(b"code")
    record = record_of(**settings)
    with pytest.raises(InputError, match="never loaded; if you trust it, pass --"):
        recorded_config(record)
    assert recorded_config(record, **settings).model == record.config["model"]


@pytest.mark.parametrize("settings", [one for one in STRANGE if "weights" not in str(one)], ids=str)
def test_no_verb_loads_it(
    settings: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = write_run(write_shards(tmp_path / "in", 1, 2), tmp_path / "scores", FakeScorer())
    changed = FakeScorer.config.model_dump(mode="json") | settings
    edit_json(scores / "_run.json", config=changed)
    assert main(["explain", "--annotations", str(scores), "--key", "0000000"]) == 2
    assert "if you trust it, pass" in capsys.readouterr().err


def test_settings_that_are_none_are_one_line() -> None:
    record = record_of().model_copy(update={"config": {"model": 7}})
    with pytest.raises(InputError, match="aren't those of this version: model"):
        recorded_config(record)


@pytest.mark.parametrize("place", ["reference::/tmp/refs.json", "zip::s3://b/x", "reference://x"])
def test_a_filesystem_that_a_record_alone_names_isnt_asked(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="only a record names it; pass it to --shards"):
        record_of().model_copy(update={"root": place}).place()
    scores = write_run(write_shards(tmp_path / "in", 1, 2), tmp_path / "scores", FakeScorer())
    edit_json(scores / "_run.json", root=place, inputs=[place])
    for words in (["verify"], ["report", "--output", str(tmp_path / "page")]):
        assert main([words[0], str(scores), *words[1:]]) == 2
        assert "only a record names it" in capsys.readouterr().err


def test_annotations_without_a_record_say_nothing_of_it() -> None:
    with pytest.raises(InputError, match=r"no _run\.json"):
        recorded_config(None)
