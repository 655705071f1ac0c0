"""Descriptions of settings: the command line's page, and the comments of `configs/`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import takewhile

from pydantic.fields import FieldInfo

from jobs.reference.tables import table
from shardsift.cli.catalogue import VERBS, Verb
from shardsift.cli.flags import COMMON, comment_of, default_of, flag_of, is_in_file, own_first
from shardsift.config import Config, fields_by_key

_OPTION = re.compile(r"(?P<off># )?(?P<key>[a-z_]+):(?P<value> .*?)?(?: +#.*)?")
"""A line of a config with a setting, which may be commented out."""

_INSIDE = " "
"""Beginning of lines that belong to the setting above."""


def of_verbs() -> str:
    """Describe every verb, flag and key, in Markdown."""
    return "\n\n".join(part for name, verb in VERBS.items() for part in _of_verb(name, verb))


def commented(config: str, kind: type[Config]) -> str:
    """Put the description of each setting over it, in the text of a config file."""
    lines = config.splitlines()
    head = list(takewhile(lambda line: line.startswith("#") and not _OPTION.fullmatch(line), lines))
    body: list[str] = []
    for line in lines[len(head) :]:
        if option := _OPTION.fullmatch(line):
            body += _commented_option(option, kind)
        elif line.startswith(_INSIDE):
            body.append(line)
    return "\n".join([*head, *body]) + "\n"


def kind_of(config: str) -> type[Config]:
    """Return the settings class of a config in `configs/`, by its name."""
    return VERBS[config if config in ("filter", "reshard") else "score"].config


def _of_verb(name: str, verb: Verb) -> Iterator[str]:
    fields = own_first(verb.config)
    yield f"## shardsift {name}"
    yield verb.summary
    yield table(
        ["flag", "", "default"],
        [_row(flag_of(key, field), field) for key, field in fields if not is_in_file(field)],
    )
    if rows := [_row(key, field) for key, field in fields if is_in_file(field)]:
        yield "In a config file alone:"
        yield table(["key", "", "default"], rows)


def of_common() -> str:
    """Describe the flags that every verb has."""
    return table(
        ["flag", ""],
        [[f"`--{key.replace('_', '-')}`", told] for key, (_, _, told) in COMMON.items()],
    )


def _row(name: str, field: FieldInfo) -> list[str]:
    spelled = ", ".join(f"`{word}`" for word in name.split("/"))
    default = default_of(field)
    return [spelled, field.description or "", f"`{default}`" if default else ""]


def _commented_option(option: re.Match[str], kind: type[Config]) -> list[str]:
    comment = comment_of(fields_by_key(kind)[option["key"]])
    return ["", *comment, f"{option['off'] or ''}{option['key']}:{option['value'] or ''}"]
