"""Pages about the code can't rot: they are made from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.reference.pages import CONFIGS, MAKERS, PAGES, filled, made_in
from jobs.reference.settings import commented, kind_of
from shardsift.cli.catalogue import VERBS
from shardsift.columns import COLUMNS
from shardsift.config import fields_by_key

STALE = "is stale; run `make reference`"


def test_pages_say_what_the_code_says() -> None:
    for page in PAGES:
        assert page.read_text() == filled(page.read_text()), f"{page} {STALE}"


def test_all_that_is_made_stands_somewhere_once() -> None:
    made = [name for page in PAGES for name in made_in(page.read_text())]
    assert sorted(made) == sorted(MAKERS)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda file: file.stem)
def test_comments_of_configs_are_those_of_the_code(config: Path) -> None:
    text = config.read_text()
    assert text == commented(text, kind_of(config.stem)), f"{config} {STALE}"


@pytest.mark.parametrize("verb", VERBS)
def test_every_setting_is_described(verb: str) -> None:
    for key, field in fields_by_key(VERBS[verb].config).items():
        text = field.description
        assert text, key
        assert not text.endswith("."), f"{key}: more may follow it in a sentence"


def test_every_column_is_described() -> None:
    assert all(column.meaning for column in COLUMNS)
