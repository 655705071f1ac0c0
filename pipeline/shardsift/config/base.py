"""What all settings have in common, and how fields say that they are given."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic.fields import FieldInfo


class Config(BaseModel):
    """Base of what a person may set: immutable, and strict about unknown keys.

    A field's description is the only text about it: flags and their help, the reference and the
    comments of `configs/` are made from it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


class Given(Enum):
    """How a field is given, if not by a flag of its name: `Annotated[int, Given.IN_FILE]`."""

    BY_PLACE = "by its place on the command line"
    IN_FILE = "in a config file alone"


def _split(value: Any) -> Any:
    """Split `a,b`, or each of several such words, as they are typed on a command line."""
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, (list, tuple)):
        return value
    return [
        part
        for word in cast(Sequence[Any], words)
        for part in (map(str.strip, word.split(",")) if isinstance(word, str) else [word])
    ]


CommaSeparated = BeforeValidator(_split)
"""Lets a tuple of words be typed as one: `decode_error,truncated`."""


def fields_by_key(kind: type[Config]) -> dict[str, FieldInfo]:
    """Give the fields of a config by the names that people type."""
    return {field.alias or name: field for name, field in kind.model_fields.items()}
