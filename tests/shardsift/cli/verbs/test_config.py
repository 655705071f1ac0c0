"""Configs to begin with: they can be written into a file, and read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardsift.cli.app import main
from shardsift.cli.catalogue import VERBS
from shardsift.cli.flags import template_of
from shardsift.config import RunConfig, bundled_configs, fields_by_key, load_config


def test_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config"]) == 0
    said = capsys.readouterr()
    assert all(name in said.out for name in bundled_configs())
    assert "For a laptop without GPU and network" in " ".join(said.out.split())
    assert said.err == "next: shardsift config laptop\n"


def test_a_config_that_comes_along_can_be_changed_and_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "laptop"]) == 0
    file = tmp_path / "mine.yaml"
    file.write_text(capsys.readouterr().out)
    assert load_config(RunConfig, file) == load_config(RunConfig, "laptop")


@pytest.mark.parametrize("verb", sorted(VERBS.keys() - bundled_configs().keys()))
def test_all_settings_of_a_verb_with_their_meaning(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", verb]) == 0
    template = capsys.readouterr().out
    assert template == template_of(VERBS[verb].config)
    for key in fields_by_key(VERBS[verb].config):
        assert f"\n# {key}:" in template


def test_a_name_that_is_none_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "laptpo"]) == 2
    assert "laptpo: not an included config, nor a verb; did you mean laptop?" in (
        capsys.readouterr().err
    )
