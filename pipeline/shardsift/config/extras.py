"""What annotations hold beside scores: attributes, hashes, embeddings. They change no score.

An attribute is a named question put to CLIP in pairs of opposite prompts.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self, cast

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from shardsift.config.base import CommaSeparated, Config
from shardsift.config.files import find_config, read_yaml
from shardsift.errors import ConfigError

PromptPairs = tuple[tuple[str, str], ...]
Attributes = Mapping[str, PromptPairs]
"""Pairs of prompts by the name of the attribute, sorted; the first prompt of a pair counts."""

HashName = Literal["sha256", "phash"]

ATTRIBUTE_PREFIX = "attr_"
"""Of the columns that have attributes."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
_FORM = "NAME=PROMPT|OPPOSITE, such as 'watermark=a photo with a watermark|a photo without one'"


def attribute_columns(attributes: Attributes) -> list[str]:
    """Name the columns of attributes, in their order."""
    return [ATTRIBUTE_PREFIX + name for name in attributes]


def _parse_attributes(words: Sequence[str]) -> dict[str, PromptPairs]:
    """Parse attributes as they are typed, `NAME=PROMPT|OPPOSITE`; several of one name are one.

    Raises:
        ValueError: if a word has another form.
    """
    found: dict[str, PromptPairs] = {}
    for word in words:
        name, equals, prompts = word.partition("=")
        if not equals:
            raise ValueError(f"{word!r} is no attribute; write {_FORM}")
        found[name.strip()] = (*found.get(name.strip(), ()), _pair(name.strip(), prompts))
    return _checked(found)


def checked_attributes(value: Any) -> dict[str, PromptPairs]:
    """Check attributes that a program gives. Raises ConfigError."""
    try:
        return _read_attributes(value)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _read_attributes(value: Any) -> dict[str, PromptPairs]:
    """Take a mapping, or the name of a file that has one under `attributes`."""
    if isinstance(value, str):
        try:
            value = read_yaml(find_config(value)).get("attributes")
        except ConfigError as error:
            raise ValueError(str(error).removeprefix("--config ")) from error
        if value is None:
            raise ValueError("that file has no attributes")
    if not isinstance(value, Mapping):
        raise ValueError("attributes are a mapping of names to pairs of prompts")
    mapping = cast(Mapping[Any, Any], value)
    return _checked({str(name): _pairs(str(name), pairs) for name, pairs in mapping.items()})


def _pairs(name: str, value: Any) -> PromptPairs:
    """Take one `PROMPT|OPPOSITE`, or a list of them, each also as a list of two."""
    pairs = cast(Sequence[Any], [value] if isinstance(value, str) else value)
    if not isinstance(pairs, (list, tuple)) or not pairs:
        raise ValueError(f"attribute {name} has no pairs of prompts")
    return tuple(_pair(name, pair) for pair in pairs)


def _pair(name: str, value: Any) -> tuple[str, str]:
    prompts = cast(Sequence[Any], value.split("|") if isinstance(value, str) else value)
    if (
        not isinstance(prompts, (list, tuple))
        or len(prompts) != 2
        or not all(isinstance(prompt, str) and prompt.strip() for prompt in prompts)
    ):
        raise ValueError(f"attribute {name}: {value!r} is no pair of prompts; write {_FORM}")
    prompt, opposite = (prompt.strip() for prompt in prompts)
    if prompt == opposite:
        raise ValueError(f"attribute {name}: both prompts are {prompt!r}")
    return prompt, opposite


def _checked(attributes: Attributes) -> dict[str, PromptPairs]:
    for name in attributes:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"attribute {name!r}: a name has lower-case letters, digits and _, and begins with "
                "a letter: it becomes a column"
            )
    return dict(sorted(attributes.items()))


class AttributesConfig(Config):
    """What CLIP is asked beside quality."""

    attributes: Annotated[dict[str, PromptPairs], BeforeValidator(_read_attributes)] = Field(
        default={},
        description="a file with further questions to CLIP under `attributes`, or `clip-iqa` for "
        "CLIP-IQA's; in a config file also the questions themselves: pairs of opposite prompts by "
        "name. Each is a column `attr_NAME`, the probability of the first prompt",
    )
    attribute: tuple[str, ...] = Field(
        default=(),
        description="one more attribute, as `NAME=PROMPT|OPPOSITE`; may be repeated, and several "
        "pairs of one name are averaged",
    )

    @model_validator(mode="after")
    def _attributes_have_one_meaning(self) -> Self:
        if twice := self.attributes.keys() & _parse_attributes(self.attribute).keys():
            raise ValueError(
                f"attribute {min(twice)} is one of `attributes`, too; give it another name"
            )
        return self

    def asked(self) -> dict[str, PromptPairs]:
        """Put together what is asked in both ways."""
        return _checked({**self.attributes, **_parse_attributes(self.attribute)})


class ExtrasConfig(AttributesConfig):
    """What annotations are to hold beside scores."""

    hashes: Annotated[tuple[HashName, ...], CommaSeparated] = Field(
        default=(),
        description="hashes of each image, comma-separated: `sha256` of its file, and `phash` of "
        "what it shows, as `imagehash` gives it, which takes longer than to decode the image",
    )

    embeddings: bool = Field(
        default=False,
        description="keep the image feature of each picture's whole view, before normalisation, as "
        "float16, in `embeddings/` beside the annotations: 2 kB a picture with RN50",
    )

    def extras(self) -> Extras:
        """Return what is asked for in any way."""
        return Extras(attributes=self.asked(), hashes=self.hashes, embeddings=self.embeddings)


def _sorted(names: tuple[HashName, ...]) -> tuple[HashName, ...]:
    return tuple(sorted(set(names)))


class Extras(Config):
    """What annotations hold beside scores, as their footers record it."""

    attributes: dict[str, PromptPairs] = Field(default={})
    hashes: Annotated[tuple[HashName, ...], AfterValidator(_sorted)] = ()
    embeddings: bool = False

    @property
    def columns(self) -> list[str]:
        """Columns that annotations have for these alone."""
        return attribute_columns(self.attributes)

    def digest(self) -> str:
        """Hash them: 16 hexadecimal digits. The fingerprint of scores knows nothing of them."""
        return hashlib.sha256(self.as_json().encode()).hexdigest()[:16]

    def as_json(self) -> str:
        """Write them down; equal ones in equal letters."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)
