"""Base classes and field types of all settings."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Annotated, Any, ClassVar, Final, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo


class Config(BaseModel):
    """Base of settings: immutable, and strict about unknown keys.

    Help of flags, the reference and the comments of `configs/` are made from a field's description.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")


class TableConfig(Config):
    """Settings of a verb that prints tables."""

    as_json: bool = Field(default=False, alias="json", description="print JSON, not tables")


class Given(Enum):
    """Source of a field without a flag of its name, as in `Annotated[int, Given.IN_FILE]`."""

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


CommaSeparated: Final = BeforeValidator(_split)
"""Lets a tuple of words be typed as one: `decode_error,truncated`."""

OneOrMore: Final = BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
"""Lets a tuple of words be given as a single one, commas and all."""


def _as_share(value: Any) -> Any:
    """Read `30%` as 0.3; refuse 30, which may be either."""
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str) and text.endswith("%"):
        try:
            return float(text[:-1]) / 100
        except ValueError as error:
            raise ValueError("is no share; write it as 0.3 or 30%") from error
    try:
        number = float(text)
    except (TypeError, ValueError) as error:
        raise ValueError("is no share; write it as 0.3 or 30%") from error
    if 1 < number <= 100:
        raise ValueError(
            f"a share is between 0 and 1; did you mean {number / 100:g}, or {number:g}%?"
        )
    return number


Share = Annotated[float, BeforeValidator(_as_share)]
"""A part of something, 0 to 1; may be written as a percentage, too."""


def fields_by_key(kind: type[Config]) -> dict[str, FieldInfo]:
    """Return the fields of a config by the names that people type."""
    return {field.alias or name: field for name, field in kind.model_fields.items()}
