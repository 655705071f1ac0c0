"""Shards by paths, globs, braces, lists and folders."""

from __future__ import annotations

import io
import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from braceexpand import braceexpand

from shardsift.errors import InputError
from shardsift.redaction import reason, redact, shown_cause
from shardsift.storage.files import (
    PAGE_ATTEMPTS,
    S3_PROTOCOLS,
    SHARD_SUFFIX,
    absolute,
    ask,
    find_below,
    is_local,
    locate,
    open_read,
    pattern_of,
    place_of,
    with_protocol,
)
from shardsift.storage.local import walk


def expand(patterns: Iterable[str]) -> Iterator[str]:
    """Yield shard locations for paths, globs, `{000..123}` braces, `@list.txt` and folders.

    A shard's name ends in `.tar`; other names without a wildcard are folders.

    Lazy: a million shards named by braces or a list are never held in memory at once.

    Raises:
        InputError: if a glob, folder or list yields nothing.
    """
    for pattern in patterns:
        if pattern.startswith("@"):
            yield from _expand_list(pattern[1:])
        else:
            yield from _expand_pattern(pattern)


def absolute_pattern(pattern: str) -> str:
    """Spell a pattern so that it means the same in any working directory.

    The lines of a list stay as they are.
    """
    if pattern.startswith("@"):
        return f"@{absolute(pattern[1:])}"
    try:
        first = next(braceexpand(pattern), pattern)
    except ValueError:
        first = pattern
    is_relative = "://" not in first and not first.startswith("/")
    return os.path.normpath(Path.cwd() / pattern) if is_relative else pattern


def lone_folder(patterns: Sequence[str]) -> str | None:
    """Return the folder that patterns consist of; None if they are anything else."""
    if len(patterns) != 1 or patterns[0].startswith("@") or patterns[0].endswith(SHARD_SUFFIX):
        return None
    return None if _is_glob(patterns[0]) or "{" in patterns[0] else patterns[0]


def _expand_list(location: str) -> Iterator[str]:
    found = False
    with _finding(f"@{location}"), io.TextIOWrapper(open_read(location), "utf-8-sig") as lines:
        for line in lines:
            if line.strip() and not line.startswith("#"):
                found = True
                yield from _expand_pattern(line.strip())
    if not found:
        raise InputError(f"@{location}: the list is empty")


def _expand_pattern(pattern: str) -> Iterator[str]:
    _refuse_presigned(pattern)
    if (_is_glob(pattern) or "{" in pattern) and _exists(pattern):
        yield from _expand_name(pattern)  # a file may have such a name
        return
    try:
        names = braceexpand(pattern)
    except ValueError as error:
        raise InputError(f"{pattern}: braces don't match: {error}") from error
    for name in names:
        yield from _glob(name) if _is_glob(name) else _expand_name(name)


def _is_glob(name: str) -> bool:
    return any(sign in name for sign in "*?[")


def _refuse_presigned(url: str) -> None:
    if url.startswith(("http://", "https://")) and redact(url).endswith("?…"):
        raise InputError(
            f"{url}: a presigned URL can't be a shard, as every annotation would contain its "
            "signature; use credentials instead"
        )


def _expand_name(name: str) -> Iterator[str]:
    if name.endswith(SHARD_SUFFIX):
        yield name
    else:
        yield from _shards_below(name)


def _exists(location: str) -> bool:
    with _finding(location):
        filesystem, path = locate(location, PAGE_ATTEMPTS)
        return ask(filesystem, location, lambda: bool(filesystem.exists(path)))


def _glob(pattern: str) -> Iterator[str]:
    with _finding(pattern):
        filesystem, path = locate(pattern, PAGE_ATTEMPTS)
        if is_local(filesystem):
            found = sorted(_glob_local(path))
        else:
            # fsspec treats a folder that it can't list as empty, so shards would silently be
            # missing. With `**`, s3fs lists in another way, which raises, and has no `on_error`.
            walks = pattern.startswith(S3_PROTOCOLS) and "**" not in pattern
            options = {"on_error": "raise"} if walks else {}
            found = ask(filesystem, pattern, lambda: sorted(filesystem.glob(path, **options)))
    if not found:
        raise InputError(f"{pattern}: no shard matches")
    for name in found:
        if not name.endswith(SHARD_SUFFIX):
            raise InputError(
                f"{pattern}: matches {name}, which is not a {SHARD_SUFFIX}; write a pattern that "
                f"ends in {SHARD_SUFFIX}, or name a folder"
            )
        yield with_protocol(filesystem, name)


def _glob_local(pattern: str) -> Iterator[str]:
    """Yield what matches a pattern, as fsspec understands it, links followed."""
    parts = pattern.split("/")
    fixed = next(place for place, part in enumerate(parts) if _is_glob(part))
    folder = "/".join(parts[:fixed]) or "/"
    depth = None if "**" in pattern else len(parts) - fixed
    if Path(folder).is_dir():
        matches = pattern_of(pattern).match
        yield from (entry.path for entry in walk(folder, depth) if matches(entry.path))


def _shards_below(location: str) -> Iterator[str]:
    with _finding(location):
        filesystem, path = locate(location, PAGE_ATTEMPTS)
        try:
            kind = ask(filesystem, location, lambda: filesystem.info(path)["type"])
        except FileNotFoundError as error:
            raise InputError(f"{location}: no such file or folder") from shown_cause(error)
        if kind == "file":
            raise InputError(f"{location}: a shard's name has to end in {SHARD_SUFFIX}")
        names = find_below(filesystem, location, path)
    found = sorted(name for name in names if name.endswith(SHARD_SUFFIX))
    if not found:
        raise InputError(f"{location}: no .tar in this folder")
    yield from (with_protocol(filesystem, name) for name in found)


@contextmanager
def _finding(location: str) -> Generator[None]:
    """Translate errors of listing into an InputError that names the requested location."""
    try:
        yield
    except (OSError, ImportError, ValueError) as error:
        problem = f"{location}: {place_of(location, error)}{reason(error)}"
        raise InputError(problem) from shown_cause(error)
