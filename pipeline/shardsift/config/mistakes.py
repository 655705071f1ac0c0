"""Messages about wrong settings, one line for each mistake.

A line has the setting as it was written, `--keep-top 30` or `run.yaml:7: keep_top 30`, the mistake,
and a suggestion.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from shardsift.config.base import Config, Given, fields_by_key

_PHRASES = {
    "greater_than": "has to be more than {gt}",
    "greater_than_equal": "has to be {ge} or more",
    "less_than": "has to be less than {lt}",
    "less_than_equal": "has to be {le} or less",
    "finite_number": "has to be a finite number",
    "byte_size": "is no size; write it as 256MB",
    "byte_size_unit": "is no size; write it as 256MB",
    "too_short": "needs {min_length} or more",
} | {
    kind: phrase
    for phrase, kinds in {
        "has to be a whole number": ("int_parsing", "int_type", "int_from_float"),
        "has to be a number": ("float_parsing", "float_type"),
        "has to be true or false": ("bool_parsing", "bool_type"),
        "has to be text; put it in quotes": ("string_type", "path_type"),
        "has to be a list": ("tuple_type", "list_type"),
        "is not among {expected}": ("literal_error", "enum"),
    }.items()
    for kind in kinds
}
_MOST_SHOWN = 60

VARIABLE = "SHARDSIFT_"
"""Before the name of a setting that the environment sets."""


class ValueSources:
    """Sources of a config's values: a file, the environment, flags, or keywords in Python."""

    def __init__(
        self,
        kind: type[Config],
        file: Path | None,
        lines: Mapping[str, Sequence[int]],
        flags: Iterable[str],
        variables: Iterable[str] = (),
        *,
        in_python: bool = False,
    ) -> None:
        self._fields = fields_by_key(kind)
        self._file = file
        self._lines = lines
        self._flags = frozenset(flags)
        self._variables = frozenset(variables)
        self._in_python = in_python

    def place(self, key: str) -> str:
        """Return a setting as it was written."""
        if key in self._variables and key not in self._flags:
            return VARIABLE + key.upper()
        if key in self._lines and key not in self._flags:
            return f"{self._file}:{self._lines[key][-1]}: {key}"
        is_flag = key in self._fields and Given.IN_FILE not in self._fields[key].metadata
        if self._in_python or not is_flag:
            return key
        return spelled(key, by_place=Given.BY_PLACE in self._fields[key].metadata)

    def twice(self) -> list[str]:
        """Describe keys that the file has twice."""
        return [
            f"{self.place(key)}: stands in line {first}, too"
            for key, (first, *others) in self._lines.items()
            if others
        ]

    def unknown(self, key: str) -> str:
        """Describe an unknown key."""
        place = self.place(key).removesuffix(key)
        others = f"known keys: {', '.join(sorted(self._fields))}"
        return f"{place}unknown key {key!r}; {did_you_mean(key, self._fields, others)}"

    def mistakes(self, error: ValidationError) -> list[str]:
        """Describe all errors that pydantic has found."""
        found = error.errors()
        deep = {one["loc"][0] for one in found if len(one["loc"]) > 1}
        # If all words of a list are wrong, "too short" is no second mistake.
        told = [one for one in found if one["type"] != "too_short" or one["loc"][0] not in deep]
        return list(dict.fromkeys(map(self._mistake, told)))

    def _mistake(self, found: Any) -> str:
        key, *deeper = map(str, found["loc"]) if found["loc"] else ("",)
        problem = _problem(found)
        if deeper and found["type"] == "missing":
            problem = "one is missing"
        if not key:  # a conflict between several settings
            return f"{self._file}: {problem}" if self._file and not self._flags else problem
        if found["type"] == "missing" and not deeper:
            return f"{self.place(key)} has to be given: {self._fields[key].description}"
        place = ".".join([self.place(key), *(part for part in deeper if not part.isdigit())])
        is_told = found["type"] != "too_short" and _is_plain(found["input"])
        value = f" {_shown(found['input'])}" if is_told else ""
        return f"{place}{value}: {problem}"


def spelled(key: str, *, by_place: bool = False) -> str:
    """Return a key as it is typed: `--keep-top`, or `ANNOTATIONS`."""
    name = key.replace("_", "-")
    return name.upper() if by_place else f"--{name}"


def as_keywords(message: str) -> str:
    """Spell flags as keywords: `keep_top` for `--keep-top`."""
    return re.sub(r"--([a-z][a-z-]*)", lambda flag: flag[1].replace("-", "_"), message)


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """Ask for the known word that was probably meant; say something else if none is close."""
    guess = next(iter(difflib.get_close_matches(word, sorted(set(known)), n=1)), None)
    return f"did you mean {guess}?" if guess else otherwise


def _problem(found: Any) -> str:
    context = found.get("ctx", {})
    kind, message = found["type"], found["msg"].removeprefix("Value error, ")
    if kind not in _PHRASES:
        return message[:1].lower() + message[1:]
    if "expected" in context:
        known = re.findall(r"'([^']*)'", context["expected"])
        phrase = _PHRASES[kind].format(expected=", ".join(known))
        guess = did_you_mean(str(found["input"]), known, "")
        return f"{phrase}; {guess}" if guess else phrase
    return _PHRASES[kind].format(**{name: _number(value) for name, value in context.items()})


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float))


def _shown(value: Any) -> str:
    text = " ".join(str(value).split()) or "''"
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
