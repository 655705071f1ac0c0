"""Shards by paths, globs, braces, lists and folders; and what folders hold."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import time_ns
from typing import Any

from braceexpand import braceexpand

from shardsift.errors import InputError
from shardsift.redaction import reason, redact, shown_cause
from shardsift.storage.files import (
    PAGE_ATTEMPTS,
    PARQUET_SUFFIX,
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
from shardsift.storage.remote import version_of

_FILES = (SHARD_SUFFIX, PARQUET_SUFFIX)
_TICK_NS = 2_000_000_000
"""Longest step of a filesystem's clock."""


def expand(patterns: Iterable[str]) -> Iterator[str]:
    """Yield shard locations for paths, globs, `{000..123}` braces, `@list.txt` and folders.

    A shard's name ends in `.tar` or `.parquet`; other names without a wildcard are folders, whose
    tars are meant, or Parquet files if there are no tars.

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
    if len(patterns) != 1 or patterns[0].startswith("@") or patterns[0].endswith(_FILES):
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
    if name.endswith(_FILES):
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
        if not name.endswith(_FILES):
            raise InputError(
                f"{pattern}: matches {name}, which is neither a tar nor a Parquet file; write a "
                "pattern that ends in .tar or .parquet, or name a folder"
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
            raise InputError(
                f"{location}: is neither a tar nor a Parquet file by its name; pictures are scored "
                "by their folder"
            )
        names = list(find_below(filesystem, location, path))
    found = next(filter(None, ([n for n in names if n.endswith(s)] for s in _FILES)), [])
    if not found:
        raise InputError(
            f"{location}: holds no .tar, no .parquet and no picture; name the folder of your "
            "pictures or shards"
        )
    yield from (with_protocol(filesystem, name) for name in sorted(found))


# --- folders -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder in a folder; `version` is as in `ShardIdentity`.

    `is_circle` is true for a link to a folder that contains it, `is_special` for a pipe or a
    device. Of local files, size and version are only known after `with_sizes`.
    """

    name: str
    is_folder: bool
    size: int = 0
    version: str = ""
    is_circle: bool = False
    is_special: bool = False


def list_folder(url: str) -> list[Entry]:
    """List the files and folders of a folder, links followed. Raises OSError."""
    filesystem, path = locate(url, PAGE_ATTEMPTS)
    if is_local(filesystem):
        with os.scandir(path) as entries:
            return [_entry(entry, path) for entry in entries]
    infos: list[dict[str, Any]] = ask(filesystem, url, lambda: filesystem.ls(path, detail=True))
    return [
        Entry(
            name=info["name"].rstrip("/").rpartition("/")[2],
            is_folder=info["type"] == "directory",
            size=int(info.get("size") or 0),
            version=version_of(info),
        )
        for info in infos
        if info["name"].rstrip("/") != path.rstrip("/")
    ]


def _entry(entry: os.DirEntry[str], folder: str) -> Entry:
    is_folder, is_circle = entry.is_dir(), False
    if is_folder and entry.is_symlink():
        inside = f"{os.path.realpath(folder)}/"
        is_circle = inside.startswith(f"{os.path.realpath(entry.path).rstrip('/')}/")
    is_special = not (is_folder or entry.is_file() or entry.is_symlink())
    return Entry(entry.name, is_folder, is_circle=is_circle, is_special=is_special)


def with_sizes(url: str, entries: Iterable[Entry]) -> list[Entry]:
    """Look up sizes and versions of files in a folder; a link to nothing has none."""
    if not is_local(locate(url)[0]):
        return list(entries)
    found: list[Entry] = []
    for entry in entries:
        with suppress(OSError):
            told = os.stat(f"{url}/{entry.name}")  # noqa: PTH116  # a third of the time of Path's
            entry = replace(entry, size=told.st_size, version=str(told.st_mtime_ns))
        found.append(entry)
    return found


def unchanged_since(url: str) -> int | None:
    """Return the time of a local folder's last change in ns; None if it is remote, or too recent
    for the next change to have another time."""
    if not is_local(locate(url)[0]):
        return None
    changed = os.stat(url).st_mtime_ns  # noqa: PTH116
    return changed if time_ns() - changed > _TICK_NS else None


def folders_below(
    url: str, is_hidden: Callable[[str], bool], order: Callable[[str], Any]
) -> Iterator[tuple[str, list[Entry]]]:
    """Yield a folder and all folders below it, with their entries, but for hidden ones.

    Links are followed unless they lead in a circle. Raises OSError.
    """
    yield from _below(url.rstrip("/"), is_hidden, order, ())


def _below(
    url: str, is_hidden: Callable[[str], bool], order: Callable[[str], Any], came: tuple[str, ...]
) -> Iterator[tuple[str, list[Entry]]]:
    """Walk on; `came` are the real folders above, of a local folder."""
    real = "" if "://" in url else os.path.realpath(url or "/")
    if real and real in came:
        return
    entries = list_folder(url or "/")
    yield url, entries
    folders = [e.name for e in entries if e.is_folder and not e.is_circle and not is_hidden(e.name)]
    for name in sorted(folders, key=order):
        yield from _below(f"{url}/{name}", is_hidden, order, (*came, real))


@contextmanager
def _finding(location: str) -> Generator[None]:
    """Translate errors of listing into an InputError that names the requested location."""
    try:
        yield
    except (OSError, ImportError, ValueError) as error:
        problem = f"{location}: {place_of(location, error)}{reason(error)}"
        raise InputError(problem) from shown_cause(error)
