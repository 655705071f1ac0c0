"""Names of shards and of their annotations.

The annotation of shard `a/00012.tar` is `a/00012.parquet`; of a Parquet file it has the same name.
Its name decides who can read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote

from shardsift.columns import COLUMNS
from shardsift.config import ATTRIBUTE_PREFIX
from shardsift.errors import InputError
from shardsift.storage.files import ANNOTATION_SUFFIX, OWN_PREFIX, SHARD_SUFFIXES

_COLUMNS = frozenset(column.name for column in COLUMNS)
_MOST_BYTES = 255
"""Longest name of a file or folder in bytes, on nearly every filesystem."""


def annotation_name(shard: str) -> str:
    """Name the annotation of a shard, below the output."""
    return stem_of(shard) + ANNOTATION_SUFFIX


def stem_of(shard: str) -> str:
    """Return the name of a shard without its suffix."""
    suffix = next((suffix for suffix in SHARD_SUFFIXES if shard.endswith(suffix)), "")
    return shard.removesuffix(suffix)


def check_file(name: str) -> None:
    """Refuse the name of a shard's file, without folders, that its annotation can't be found by.

    Raises:
        InputError: which says why.
    """
    _refuse(name, _problems(name, annotation_name(name)))


def check_folder(folder: str) -> None:
    """Refuse a folder that annotations can't be found in: `/a/b`, below the shards' common root.

    Raises:
        InputError: which names the part of it, and says why.
    """
    for part in folder.split("/")[1:]:
        _refuse(folder[1:], _folder_problems(part))


def _refuse(name: str, problems: Iterator[str]) -> None:
    if problem := next(problems, None):
        shown = name.encode("utf-8", "backslashreplace").decode()
        shown = shown if len(shown) <= 100 else f"{shown[:100]}…"
        raise InputError(f"{shown!r} can't be in the name of a shard: {problem}; rename it")


def _folder_problems(part: str) -> Iterator[str]:
    yield from _problems(part, part)
    if part.endswith(ANNOTATION_SUFFIX):
        yield f"a folder {part} looks like a Parquet file"
    column, equals, _ = part.partition("=")
    known = column.lower()
    if equals and (known in _COLUMNS or known.startswith(ATTRIBUTE_PREFIX)):
        yield f"readers would read the folder {part} as a column {column}, which annotations have"


def _problems(part: str, written: str) -> Iterator[str]:
    """Yield problems of a part of a name; `written` is its name below the output."""
    if part != part.encode(errors="replace").decode():
        yield "it isn't UTF-8"
    elif not part or unquote(part) in (".", ".."):
        yield "a part that is empty, . or .. is ambiguous"
    elif part.startswith((OWN_PREFIX, ".")):
        yield f"readers of annotations skip names that begin with {part[0]}"
    elif not part.isprintable():
        yield "it has control characters"
    elif len(written.encode()) > _MOST_BYTES:
        yield f"its annotation's name would have over {_MOST_BYTES} bytes"
