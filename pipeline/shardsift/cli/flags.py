"""Commands whose arguments, flags and help are made from the fields of a config."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature
from keyword import iskeyword
from pathlib import Path
from textwrap import wrap
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import typer
from pydantic import ByteSize
from pydantic.fields import FieldInfo

from shardsift.config import Config, Given, fields_by_key, spelled

COMMON: dict[str, tuple[str, type, str]] = {
    "config": (
        "FILE",
        str,
        "a YAML file with settings, or a name such as `laptop`; flags override it",
    ),
    "quiet": ("", bool, "print only warnings and results"),
    "verbose": ("", bool, "print details for developers, too"),
}
"""Options of every verb beside its settings: metavar, type and description."""

_COMMENT_WIDTH = 96
_NO_KEYWORD = "_"
"""Behind the parameter of a flag that Python has as a keyword: `--with`."""

_SHORT = {"output": "-o", "quiet": "-q", "verbose": "-v"}

Run = Callable[[typer.Context, dict[str, Any]], int]
"""Takes the typed values by keys of the config; returns the exit code."""

_METAVARS: dict[Any, str] = {bool: "", int: "N", float: "NUMBER", ByteSize: "SIZE", Path: "PATH"}


def make_command(kind: type[Config], run: Run) -> Callable[..., int]:
    """Make a function that typer turns into a command: a parameter for each field, and `COMMON`."""
    fields = [(key, field) for key, field in own_first(kind) if not is_in_file(field)]

    def command(context: typer.Context, **given: Any) -> int:
        given = {name.removesuffix(_NO_KEYWORD): value for name, value in given.items()}
        return run(context, {k: v for k, v in given.items() if v not in (None, [], ())})

    parameters = [
        Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context),
        *(_parameter(key, field) for key, field in fields),
        *(_common(name, *about) for name, about in COMMON.items()),
    ]
    command.__signature__ = Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def own_first(kind: type[Config]) -> list[tuple[str, FieldInfo]]:
    """List the fields of a config by key: its own, then those that it shares with others."""
    shared = {key for base in kind.__bases__ for key in fields_by_key(base)}
    return sorted(fields_by_key(kind).items(), key=lambda item: item[0] in shared)


def is_in_file(field: FieldInfo) -> bool:
    """Return whether a field can only be set in a config file."""
    return Given.IN_FILE in field.metadata


def flag_of(key: str, field: FieldInfo) -> str:
    """Spell the flag of a field, or the name of an argument that has its place."""
    name = spelled(key, by_place=Given.BY_PLACE in field.metadata)
    return f"{name}/--no-{name[2:]}" if field.get_default() is True else name


def sentence(description: str | None) -> str:
    """Make a sentence of a field's description."""
    text = description or ""
    return f"{text[:1].upper()}{text[1:]}."


def default_of(field: FieldInfo) -> str | None:
    """Return a field's default as it would be typed; None if it has none, or nothing to show."""
    default = field.get_default()
    if field.is_required() or default in (None, (), {}) or isinstance(default, (bool, Config)):
        return None
    if isinstance(default, tuple):
        words: tuple[object, ...] = default
        return None if isinstance(words[0], tuple) else ",".join(map(str, words))
    if isinstance(default, ByteSize):
        return default.human_readable(separator=" ")
    return f"{default:g}" if isinstance(default, float) else str(default)


def comment_of(field: FieldInfo) -> list[str]:
    """Describe a field in the lines of a comment."""
    text = sentence(field.description)
    return [f"# {line}" for line in wrap(text, _COMMENT_WIDTH, break_on_hyphens=False)]


def template_of(kind: type[Config]) -> str:
    """Write a config file with all settings commented out, and a description of each."""
    parts: list[str] = []
    for key, field in own_first(kind):
        default = field.get_default()
        told = str(default).lower() if isinstance(default, bool) else default_of(field) or ""
        parts.append("\n".join([*comment_of(field), f"# {key}: {told}".rstrip()]))
    return "\n\n".join(parts) + "\n"


def _parameter(key: str, field: FieldInfo) -> Parameter:
    default = default_of(field)
    told = sentence(field.description) + (f" Default: {default}." if default else "")
    about: dict[str, Any] = {"help": told, "show_default": False}
    kind = _bare(field.annotation)
    typed = _typed(kind)
    flag = flag_of(key, field)
    if Given.BY_PLACE in field.metadata:
        return _optional(key, typed, typer.Argument(metavar=flag, **about))
    return _optional(key, typed, typer.Option(*_flags(flag), metavar=_metavar(kind), **about))


def _common(name: str, metavar: str, kind: type, told: str) -> Parameter:
    flags = _flags(spelled(name))
    return _optional(name, kind, typer.Option(*flags, metavar=metavar, help=sentence(told)))


def _flags(flag: str) -> list[str]:
    """List a flag and its short form, if it has one."""
    short = _SHORT.get(flag.removeprefix("--"))
    return [flag, short] if short else [flag]


def _optional(name: str, kind: Any, about: Any) -> Parameter:
    annotation = Annotated[kind | None, about]
    name += _NO_KEYWORD if iskeyword(name) else ""
    return Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _bare(annotation: Any) -> Any:
    """Return a field's type without `None` and annotations."""
    if get_origin(annotation) in (Union, UnionType):
        (annotation,) = (kind for kind in get_args(annotation) if kind is not type(None))
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _typed(kind: Any) -> Any:
    """Choose the type that typer parses a value as. Numbers stay text, because the config's
    messages about wrong numbers are better.
    """
    if kind is bool:
        return bool
    return list[str] if get_origin(kind) is tuple else str


def _metavar(kind: Any) -> str:
    """Return the placeholder of a flag's value in the help; empty for a boolean."""
    return "LIST" if get_origin(kind) is tuple else _METAVARS.get(kind, "TEXT")
