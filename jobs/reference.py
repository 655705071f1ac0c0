"""Write what is said of settings from the fields that declare them: `python -m jobs.reference`.

That is `docs/reference.md`, and the comments of `configs/`, whose headers are written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

from pydantic.fields import FieldInfo

from shardsift.cli.catalogue import VERBS, Verb
from shardsift.cli.flags import COMMON, comment_of, default_of, flag_of, is_in_file, own_first
from shardsift.config import Config, fields_by_key

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference.md"

_OPTION = re.compile(r"(?P<off># )?(?P<key>[a-z_]+):(?P<value> .*?)?(?: +#.*)?")
"""A line of a config: a setting, or one that is commented out."""

_INSIDE = " "
"""What lines begin with that are part of the setting above."""


def reference() -> str:
    """Describe every verb, flag and key, in Markdown."""
    parts = [
        "# Reference",
        "Made by `make reference` from the fields that declare the settings.",
        "Flags may be typed with underscores, too. A key of a config file is its flag's name with "
        "underscores; an environment variable `SHARDSIFT_KEEP_TOP` sets `keep_top`, too. Flags win "
        "over variables, and these over the file.",
        *(part for name, verb in VERBS.items() for part in _of_verb(name, verb)),
    ]
    return "\n\n".join(parts) + "\n"


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
    """Tell what a config of `configs/` sets, by its name."""
    return VERBS[config if config in ("filter", "reshard") else "score"].config


def _of_verb(name: str, verb: Verb) -> Iterator[str]:
    fields = own_first(verb.config)
    yield f"## shardsift {name}"
    yield verb.summary
    rows = [_row(flag_of(key, field), field) for key, field in fields if not is_in_file(field)]
    common = [
        f"| `--{key.replace('_', '-')}` | {told} |  |" for key, (_, _, told) in COMMON.items()
    ]
    yield "\n".join(["| flag | | default |", "| --- | --- | --- |", *rows, *common])
    if rows := [_row(key, field) for key, field in fields if is_in_file(field)]:
        yield "In a config file alone:"
        yield "\n".join(["| key | | default |", "| --- | --- | --- |", *rows])


def _row(name: str, field: FieldInfo) -> str:
    spelled = ", ".join(f"`{word}`" for word in name.split("/"))
    default = default_of(field)
    told = f"`{default}`" if default else ""
    return f"| {spelled} | {field.description} | {told} |"


def _commented_option(option: re.Match[str], kind: type[Config]) -> list[str]:
    comment = comment_of(fields_by_key(kind)[option["key"]])
    return ["", *comment, f"{option['off'] or ''}{option['key']}:{option['value'] or ''}"]


def main() -> None:
    """Write the reference, and the comments of all configs."""
    REFERENCE.write_text(reference())
    for file in sorted((ROOT / "configs").glob("*.yaml")):
        file.write_text(commented(file.read_text(), kind_of(file.stem)))


if __name__ == "__main__":
    main()
