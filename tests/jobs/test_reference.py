"""What is said of settings can't rot: it is made from the fields that declare them."""

from __future__ import annotations

import pytest

from jobs.reference import REFERENCE, ROOT, commented, kind_of, reference
from shardsift.cli.catalogue import VERBS
from shardsift.config import fields_by_key

STALE = "is stale; run `make reference`"


def test_the_reference_is_that_of_the_code() -> None:
    assert REFERENCE.read_text() == reference(), f"{REFERENCE} {STALE}"


@pytest.mark.parametrize("name", [file.stem for file in (ROOT / "configs").glob("*.yaml")])
def test_comments_of_configs_are_those_of_the_code(name: str) -> None:
    text = (ROOT / "configs" / f"{name}.yaml").read_text()
    assert text == commented(text, kind_of(name)), f"{name}.yaml {STALE}"


@pytest.mark.parametrize("verb", VERBS)
def test_every_setting_is_described(verb: str) -> None:
    for key, field in fields_by_key(VERBS[verb].config).items():
        text = field.description
        assert text, key
        assert not text.endswith("."), f"{key}: more may follow it in a sentence"
