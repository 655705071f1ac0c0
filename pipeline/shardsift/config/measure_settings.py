"""Settings of further columns, which don't change the score: attributes, hashes, CLIPs, embeddings.

An attribute is a named question to CLIP, as pairs of opposite prompts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, cast

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from shardsift.config.base import CommaSeparated, Config, Given, OneOrMore
from shardsift.config.heads import HeadsConfig
from shardsift.config.loading import find_config, read_yaml
from shardsift.errors import ConfigError

PromptPairs = tuple[tuple[str, str], ...]
Attributes = Mapping[str, PromptPairs]
"""Pairs of prompts by the name of the attribute, sorted; the first prompt of a pair counts."""

HashName = Literal["sha256", "phash"]
ATTRIBUTE_PREFIX = "attr_"
"""Prefix of the columns that have attributes."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
_FORM = "NAME=PROMPT|OPPOSITE, such as 'watermark=a photo with a watermark|a photo without one'"


def attribute_columns(attributes: Attributes) -> list[str]:
    """Name the columns of attributes, in their order."""
    return [ATTRIBUTE_PREFIX + name for name in attributes]


def _read_file(name: str) -> dict[str, PromptPairs]:
    """Read the attributes of a config file. Raises ValueError."""
    try:
        content = read_yaml(find_config(name))
    except ConfigError as error:
        problem = str(error).removeprefix("--config ")
        raise ValueError(f"{problem}; or write {_FORM}") from error
    measures = content.get("measures")
    attributes = cast(Any, measures).get("attributes") if isinstance(measures, Mapping) else None
    if attributes is None:
        raise ValueError(f"{name}: has no attributes under `measures`")
    return _read_attributes(attributes)


def _united(some: Attributes, others: Attributes) -> dict[str, PromptPairs]:
    if twice := some.keys() & others.keys():
        raise ValueError(f"attribute {min(twice)} is given twice; rename one")
    return {**some, **others}


def checked_attributes(value: Any) -> dict[str, PromptPairs]:
    """Check attributes that a program gives. Raises ConfigError."""
    try:
        return _read_attributes(value)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _read_attributes(value: Any) -> dict[str, PromptPairs]:
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


class ClipConfig(Config):
    """A standard CLIP beside the score."""

    model: str = Field(description="as `--clip`")
    pretrained: str | None = Field(default=None, description="as `--clip-pretrained`")
    caption: str = Field(default="txt", min_length=1, description="as `--caption`")


_TAKEN = frozenset({"maclip", "attributes", "hashes"})


class MeasureSettings(Config):
    """Settings under `measures` in a config file; other names are those of standard CLIPs."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, ClipConfig] = Field(init=False)  # pyright: ignore

    @property
    def clips(self) -> dict[str, ClipConfig]:
        """Standard CLIPs by name."""
        return dict(self.__pydantic_extra__ or {})

    @model_validator(mode="after")
    def _names_can_be_columns(self) -> Self:
        for name in self.clips:
            if not _NAME.fullmatch(name) or name in _TAKEN:
                raise ValueError(
                    f"measure {name!r}: a name has lower-case letters, digits and _, begins with a "
                    f"letter, and is none of {', '.join(sorted(_TAKEN))}"
                )
        return self

    attributes: Annotated[dict[str, PromptPairs], BeforeValidator(_read_attributes)] = Field(
        default={}
    )


class AttributesConfig(Config):
    """Questions to CLIP beside quality."""

    attribute: Annotated[tuple[str, ...], OneOrMore] = Field(
        default=(),
        description="a question to CLIP, as `NAME=PROMPT|OPPOSITE`, a file of questions, or "
        "`clip-iqa` for those of CLIP-IQA; may be repeated, and several pairs with "
        "one name are averaged. The column `attr_NAME` is the probability of the "
        "first prompt",
    )
    measures: Annotated[MeasureSettings, Given.IN_FILE] = Field(
        default=MeasureSettings(),
        description="further columns: `attributes`, a mapping of names to pairs of opposite "
        "prompts; any other name is a standard CLIP, with `model`, `pretrained` and `caption`",
    )

    @model_validator(mode="after")
    def _attributes_have_one_meaning(self) -> Self:
        self.asked()
        return self

    def asked(self) -> dict[str, PromptPairs]:
        """Combine attributes of `--attribute` and of `measures`."""
        typed: dict[str, PromptPairs] = {}
        read: dict[str, PromptPairs] = {}
        for word in self.attribute:
            name, equals, prompts = word.partition("=")
            name = name.strip()
            if equals and not ("|" not in word and Path(word).is_file()):
                typed[name] = (*typed.get(name, ()), _pair(name, prompts))
            else:
                read = _united(read, _read_file(word))
        return _checked(_united(self.measures.attributes, _checked(_united(typed, read))))


class MeasuresConfig(AttributesConfig, HeadsConfig):
    """Settings of columns beside the score."""

    hashes: Annotated[tuple[HashName, ...], CommaSeparated] = Field(
        default=(),
        description="hashes of each image, comma-separated: `sha256` of its file, and the "
        "perceptual hash `phash`, as `imagehash` computes it, which takes longer "
        "than decoding the image",
    )

    clip: str | None = Field(
        default=None,
        description="a standard CLIP beside the score, by its open_clip name, as for `--model`: "
        "`clip_score` is the similarity of picture and caption",
    )
    clip_pretrained: str | None = Field(
        default=None, description="weights of that CLIP, as for `--pretrained`"
    )
    caption: str | None = Field(
        default=None,
        description="the caption that a CLIP compares: `txt`, the file beside the picture or the "
        "column of a caption, by default; or a key of the sample's `.json`, such as `meta.alt`",
    )
    embeddings: Annotated[tuple[str, ...], CommaSeparated] = Field(
        default=(),
        description="write image features before normalisation as float16 into "
        "`_embeddings/NAME/`: `clip` are those of the standard CLIP, as other tools expect them; "
        "`maclip` are MA-CLIP's of the whole view, for `ask`, which are not CLIP embeddings. 2 kB "
        "per picture with RN50",
    )

    @model_validator(mode="after")
    def _clips_are_named(self) -> Self:
        clips = self.clips()
        for flag in ("clip_pretrained", "caption", "head"):
            if getattr(self, flag) and not clips:
                raise ValueError(f"--{flag.replace('_', '-')} needs --clip")
        for flag, name in (
            *(("--embeddings", name) for name in self.embeddings),
            ("--attribute-of", self.attribute_of),
        ):
            if name not in clips and name != "maclip":
                known = ["maclip", *(clips or ["clip"])]
                hint = "name one with --clip" if name == "clip" else f"known: {', '.join(known)}"
                raise ValueError(f"{flag} {name}: there is no such tower; {hint}")
        return self

    def asked_of(self, tower: str) -> dict[str, PromptPairs]:
        """Return the attributes that a tower is asked."""
        return self.asked() if self.attribute_of == tower else {}

    def clips(self) -> dict[str, ClipConfig]:
        """Combine the CLIP of `--clip` with those of `measures`, sorted by name."""
        clips = self.measures.clips
        if self.clip is not None:
            pretrained = self.clip_pretrained
            clips["clip"] = ClipConfig(model=self.clip, pretrained=pretrained)
        elif self.clip_pretrained is not None and "clip" in clips:
            changed = {"pretrained": self.clip_pretrained}
            clips["clip"] = clips["clip"].model_copy(update=changed)
        if self.caption is not None:
            changed = {"caption": self.caption}
            clips = {name: each.model_copy(update=changed) for name, each in clips.items()}
        return dict(sorted(clips.items()))
