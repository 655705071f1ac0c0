"""The only module that knows fsspec: find, open, commit, list, identify.

Locations are plain paths or fsspec URLs (`s3://…`, `gs://…`, `memory://…`). A reader never sees
half a file: what is committed appears at once or not at all. Remote stores are tried again where
they fail for a moment, see `remote`; local files are not.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast
from urllib.parse import unquote

from braceexpand import braceexpand
from fsspec.config import conf as fsspec_config
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import glob_translate

from shardsift.errors import InputError, UserError
from shardsift.records import ShardIdentity
from shardsift.storage.local import appearing, walk
from shardsift.storage.redaction import reason, redact, shown_cause
from shardsift.storage.remote import READ_BLOCK_BYTES, ResumingReader, patiently, version_of

OWN_PREFIX = "_"
"""Names that begin so are ours, and invisible to pyarrow, DuckDB and Spark."""

SHARD_SUFFIX = ".tar"
ANNOTATION_SUFFIX = ".parquet"
FAILED_FOLDER = "_failed"

_PAGE_ATTEMPTS = 3
"""A listing of a million files is a thousand pages: one that fails mustn't repeat them all."""

ResultT = TypeVar("ResultT")

_S3_PROTOCOLS = ("s3://", "s3a://")
_S3_LOGIN = re.compile(r"\w+://(?!arn:)[^/]*[:@]")
_HTTP_LOGIN = re.compile(r"https?://[^/]*@")


def join(folder: str, name: str) -> str:
    """Locate `name` (with forward slashes) below a folder.

    Raises:
        InputError: if it would lie elsewhere.
    """
    if ".." in unquote(name).split("/"):
        raise InputError(f"{name!r} leads out of {redact(folder)}")
    return f"{folder.rstrip('/')}/{name}" if folder.rstrip("/") else f"/{name}"


# --- shards in -----------------------------------------------------------------------------------


def expand(patterns: Iterable[str]) -> Iterator[str]:
    """Yield shard locations for paths, globs, `{000..123}` braces, `@list.txt` and folders.

    A shard's name ends in `.tar`; anything else without a wildcard is taken for a folder.

    Lazy: a million shards named by braces or a list are never held in memory at once.

    Raises:
        InputError: if a glob, folder or list yields nothing.
    """
    for pattern in patterns:
        if pattern.startswith("@"):
            yield from _expand_list(pattern[1:])
        else:
            yield from _expand_pattern(pattern)


def _expand_list(location: str) -> Iterator[str]:
    found = False
    with _finding(f"@{location}"), io.TextIOWrapper(open_read(location), "utf-8-sig") as lines:
        for line in lines:
            if line.strip() and not line.startswith("#"):
                found = True
                yield from _expand_pattern(line.strip())
    if not found:
        raise InputError(f"@{redact(location)}: the list is empty")


def _expand_pattern(pattern: str) -> Iterator[str]:
    _refuse_presigned(pattern)
    if (_is_glob(pattern) or "{" in pattern) and _exists(pattern):
        yield from _expand_name(pattern)  # it may be called so
        return
    try:
        names = braceexpand(pattern)
    except ValueError as error:
        raise InputError(f"{redact(pattern)}: braces don't match: {error}") from error
    for name in names:
        yield from _glob(name) if _is_glob(name) else _expand_name(name)


def _is_glob(name: str) -> bool:
    return any(sign in name for sign in "*?[")


def _refuse_presigned(url: str) -> None:
    if url.startswith(("http://", "https://")) and redact(url).endswith("?…"):
        raise InputError(
            f"{redact(url)}: a presigned URL can't be a shard, for its signature would stand in "
            "every annotation; log in instead"
        )


def _expand_name(name: str) -> Iterator[str]:
    if name.endswith(SHARD_SUFFIX):
        yield name
    else:
        yield from _shards_below(name)


def _exists(location: str) -> bool:
    with _finding(location):
        filesystem, path = _locate(location, _PAGE_ATTEMPTS)
        return _ask(filesystem, location, lambda: bool(filesystem.exists(path)))


def _glob(pattern: str) -> Iterator[str]:
    with _finding(pattern):
        filesystem, path = _locate(pattern, _PAGE_ATTEMPTS)
        if isinstance(filesystem, LocalFileSystem):
            found = sorted(_glob_local(path))
        else:
            # fsspec takes a folder that it can't list for an empty one, and shards would go missing
            # in silence. With `**` s3fs lists by another way, which raises by itself and knows no
            # `on_error`.
            walks = pattern.startswith(_S3_PROTOCOLS) and "**" not in pattern
            options = {"on_error": "raise"} if walks else {}
            found = _ask(filesystem, pattern, lambda: sorted(filesystem.glob(path, **options)))
    if not found:
        raise InputError(f"{redact(pattern)}: no shard matches")
    for name in found:
        if not name.endswith(SHARD_SUFFIX):
            raise InputError(
                f"{redact(pattern)}: matches {redact(name)}, which is no {SHARD_SUFFIX}; write a "
                f"pattern that ends in {SHARD_SUFFIX}, or name a folder"
            )
        yield _with_protocol(filesystem, name)


def _glob_local(pattern: str) -> Iterator[str]:
    """Yield what matches a pattern, as fsspec understands it, links followed."""
    parts = pattern.split("/")
    fixed = next(place for place, part in enumerate(parts) if _is_glob(part))
    folder = "/".join(parts[:fixed]) or "/"
    depth = None if "**" in pattern else len(parts) - fixed
    if Path(folder).is_dir():
        matches = re.compile(glob_translate(pattern)).match
        yield from (entry.path for entry in walk(folder, depth) if matches(entry.path))


def _shards_below(location: str) -> Iterator[str]:
    with _finding(location):
        filesystem, path = _locate(location, _PAGE_ATTEMPTS)
        try:
            kind = _ask(filesystem, location, lambda: filesystem.info(path)["type"])
        except FileNotFoundError as error:
            raise InputError(f"{redact(location)}: no such file or folder") from shown_cause(error)
        if kind == "file":
            raise InputError(f"{redact(location)}: a shard's name has to end in {SHARD_SUFFIX}")
        names = _find(filesystem, location, path)
    found = sorted(name for name in names if name.endswith(SHARD_SUFFIX))
    if not found:
        raise InputError(f"{redact(location)}: no .tar in this folder")
    yield from (_with_protocol(filesystem, name) for name in found)


def _find(filesystem: Any, location: str, path: str) -> Iterable[str]:
    """List all files below a folder. Raises OSError."""
    if isinstance(filesystem, LocalFileSystem):
        return [entry.path for entry in walk(path) if not entry.is_dir()]
    return _ask(filesystem, location, lambda: cast(list[str], filesystem.find(path)))


@contextmanager
def _finding(location: str) -> Generator[None]:
    """Turn what goes wrong in finding shards into an InputError that names what was asked for."""
    try:
        yield
    except (OSError, ImportError, ValueError) as error:
        problem = f"{redact(location)}: {_place(location, error)}{reason(error)}"
        raise InputError(problem) from shown_cause(error)


def _place(location: str, error: Exception) -> str:
    """Name the file that an error is about if it isn't what was asked for, but deep below."""
    name = getattr(error, "filename", None)
    if not isinstance(name, str) or name.endswith(location.lstrip("@").rstrip("/")):
        return ""
    return f"{redact(name)} "


# --- reading -------------------------------------------------------------------------------------


def open_read(url: str) -> io.BufferedReader:
    """Open for reading with a bounded read-ahead; the caller closes it. Raises OSError.

    A remote read that breaks goes on where it broke.
    """
    filesystem, path = _locate(url)
    if isinstance(filesystem, LocalFileSystem):
        return Path(path).open("rb")
    return io.BufferedReader(ResumingReader(filesystem, path, url), READ_BLOCK_BYTES)


def read_bytes(url: str) -> bytes:
    """Read the whole content of a small file. Raises FileNotFoundError or another OSError."""
    filesystem, path = _locate(url)
    return _ask(filesystem, url, lambda: cast(bytes, filesystem.cat_file(path)))


def read_range(url: str, offset: int, size: int) -> bytes:
    """Read some bytes of a file, without the rest of it. Raises OSError."""
    filesystem, path = _locate(url)
    end = offset + size
    return _ask(
        filesystem, url, lambda: cast(bytes, filesystem.cat_file(path, start=offset, end=end))
    )


def sum_of(url: str) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits. Raises OSError."""
    with open_read(url) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # pyright: ignore[reportArgumentType]


def identify(url: str, shard: str) -> ShardIdentity:
    """Look up size and etag (else modification time) of a shard of this name. Raises OSError."""
    filesystem, path = _locate(url)
    info = _ask(filesystem, url, lambda: cast(dict[str, Any], filesystem.info(path)))
    return ShardIdentity(path=shard, size=int(info["size"]), version=version_of(info))


# --- writing -------------------------------------------------------------------------------------


def commit(url: str, data: bytes) -> None:
    """Make `data` appear at `url` at once, replacing what was there.

    Local: a temporary name, fsync, rename. Object store: one PUT. Raises OSError.
    """
    # Trying a PUT again is safe, even if only its answer was lost: it puts the same bytes.
    # From 100 MiB on s3fs puts parts instead, which appear as one when all have come.
    filesystem, path = _locate(url)
    if isinstance(filesystem, LocalFileSystem):
        with appearing(Path(path)) as file:
            file.write(data)
    else:
        _ask(filesystem, url, lambda: filesystem.pipe_file(path, data))


@contextmanager
def committing(url: str) -> Generator[BinaryIO]:
    """Open a file to write, which appears at `url` at once if the block ends without an error.

    For content that may not fit the memory: what goes to an object store waits on a local disk.
    Raises OSError.
    """
    filesystem, path = _locate(url)
    if isinstance(filesystem, LocalFileSystem):
        with appearing(Path(path)) as file:
            yield file
        return
    with tempfile.NamedTemporaryFile(prefix="shardsift-") as file:
        yield cast(BinaryIO, file)
        file.flush()
        _ask(filesystem, url, lambda: filesystem.put_file(file.name, path))


def commit_file(url: str, source: Path) -> None:
    """Commit the content of a local file, which may not fit the memory."""
    filesystem, path = _locate(url)
    if isinstance(filesystem, LocalFileSystem):
        with appearing(Path(path)) as file, source.open("rb") as content:
            shutil.copyfileobj(content, file)
    else:
        _ask(filesystem, url, lambda: filesystem.put_file(str(source), path))


def delete(url: str) -> None:
    """Remove a file; it may be gone already."""
    filesystem, path = _locate(url)
    with suppress(FileNotFoundError):
        _ask(filesystem, url, lambda: filesystem.rm_file(path))


def list_files(folder: str) -> set[str]:
    """List all files below a folder, relative to it; none if it does not exist.

    Raises:
        UserError: if it, or a folder in it, can't be listed.
    """
    filesystem, path = _locate(folder, _PAGE_ATTEMPTS)
    filesystem.invalidate_cache()
    prefix = path.rstrip("/") + "/"
    try:
        found = _find(filesystem, folder, path)
    except (FileNotFoundError, NotADirectoryError):  # as a bucket that isn't there
        return set()
    except OSError as error:
        problem = f"{redact(folder)}: can't be listed: {_place(folder, error)}{reason(error)}"
        raise UserError(problem) from shown_cause(error)
    return {name[len(prefix) :] for name in found if name.startswith(prefix)}


def is_annotation(name: str) -> bool:
    """Tell whether a name from `list_files` is an annotation file and not one of ours."""
    own = any(part.startswith(OWN_PREFIX) for part in name.split("/"))
    return name.endswith(ANNOTATION_SUFFIX) and not own


# --- names ---------------------------------------------------------------------------------------


def absolute(location: str) -> str:
    """Spell every location in one way, so that prefixes can be compared. Raises UserError."""
    try:
        filesystem, path = _locate(location)
    except (ImportError, ValueError) as error:
        raise UserError(f"{redact(location)}: {reason(error)}") from shown_cause(error)
    return _with_protocol(filesystem, path)


def lies_in(location: str, folder: str) -> bool:
    """Tell whether a location is an absolute folder or lies below it; links are followed."""
    places = absolute(location), folder
    target, source = (p if "://" in p else os.path.realpath(p) for p in places)
    return f"{target.rstrip('/')}/".startswith(f"{source.rstrip('/')}/")


def _locate(url: str, s3_attempts: int = 1) -> tuple[Any, str]:
    """Find the filesystem of a URL, and the path in it. Raises UserError for a login in vain."""
    if _HTTP_LOGIN.match(url):  # it would end up in `_run.json`
        raise UserError(
            f"{redact(url)}: URLs take no login; put its header into FSSPEC_HTTP's headers instead"
        )
    if not url.startswith(_S3_PROTOCOLS):
        return url_to_fs(url)
    if _S3_LOGIN.match(url):  # s3fs would take it for the bucket, and say it aloud
        raise UserError(
            f"{redact(url)}: s3:// URLs take no login; "
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead"
        )
    # botocore and s3fs try five times each, one inside the other: a store that is down would be
    # asked 150 times. Our own patience is enough, and it alone says in the log that it waits.
    configured = fsspec_config.get("s3", {}).get("config_kwargs", {})
    attempts = {"retries": {"total_max_attempts": s3_attempts}}
    filesystem, path = url_to_fs(url, config_kwargs={**configured, **attempts})
    filesystem.retries = 1
    return filesystem, path


def _ask(filesystem: Any, url: str, call: Callable[[], ResultT]) -> ResultT:
    """Return what `call` returns, with patience if the filesystem is remote."""
    return call() if isinstance(filesystem, LocalFileSystem) else patiently(url, call)


def _with_protocol(filesystem: Any, path: str) -> str:
    if isinstance(filesystem, LocalFileSystem):
        return os.path.abspath(path)  # noqa: PTH100  # links stay, `..` goes
    return cast(str, filesystem.unstrip_protocol(path))
