"""Files by location: read, commit, list, identify.

A reader never sees half a file: what is committed appears at once or not at all.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import unquote

from shardsift.errors import InputError, UserError, WriteError
from shardsift.records import ShardIdentity
from shardsift.redaction import reason, shown_cause
from shardsift.storage.ahead import AheadReader
from shardsift.storage.filesystems import (
    PAGE_ATTEMPTS,
    ask,
    find_below,
    is_local,
    locate,
    place_of,
    with_protocol,
)
from shardsift.storage.local import (
    Guard,
    appear_alone,
    appearing,
    no_guard,
    open_regular,
)
from shardsift.storage.remote import READ_BLOCK_BYTES, ResumingReader, version_of
from shardsift.storage.scratch import make_scratch, naming_scratch

OWN_PREFIX = "_"
"""Names that begin so are ours, and invisible to pyarrow, DuckDB and Spark."""

SHARD_SUFFIX = ".tar"
ANNOTATION_SUFFIX = ".parquet"
FAILED_FOLDER = "_failed"

_STREAM_BUFFER_BYTES = 1 << 20


def join(folder: str, name: str) -> str:
    """Locate `name` (with forward slashes) below a folder.

    Raises:
        InputError: if it would lie elsewhere.
    """
    if ".." in unquote(name).split("/"):
        raise InputError(f"{name!r} leads out of {folder}")
    return f"{folder.rstrip('/')}/{name}" if folder.rstrip("/") else f"/{name}"


def size_on_disk(url: str) -> int | None:
    """Return the size of a file on a local disk, 0 if it isn't there; None if it lies elsewhere."""
    if "://" in url:
        return None
    try:
        return Path(url).stat().st_size
    except OSError:
        return 0


# --- reading -------------------------------------------------------------------------------------


def open_read(url: str) -> io.BufferedReader:
    """Open for reading with a bounded read-ahead; the caller closes it. Raises OSError.

    A remote read that breaks goes on where it broke.
    """
    filesystem, path = locate(url)
    if is_local(filesystem):
        return open_regular(path)
    return io.BufferedReader(ResumingReader(filesystem, path, url), READ_BLOCK_BYTES)


def open_stream(url: str) -> io.BufferedReader:
    """Open for reading from front to back; the caller closes it. Raises OSError.

    As `open_read`, but of a remote file the next blocks are fetched while one is read.
    """
    filesystem, path = locate(url)
    if is_local(filesystem):
        return open_regular(path)
    first = ResumingReader(filesystem, path, url)
    if first.size is None or first.size <= READ_BLOCK_BYTES:
        return io.BufferedReader(first, READ_BLOCK_BYTES)
    another = partial(ResumingReader, filesystem, path, url, like=first)
    return io.BufferedReader(AheadReader(first, another), _STREAM_BUFFER_BYTES)


def read_bytes(url: str) -> bytes:
    """Read the whole content of a small file. Raises FileNotFoundError or another OSError."""
    filesystem, path = locate(url)
    if is_local(filesystem):
        with open_regular(path) as file:
            return file.read()
    return ask(filesystem, url, lambda: cast(bytes, filesystem.cat_file(path)))


def read_range(url: str, offset: int, size: int) -> bytes:
    """Read some bytes of a file, without the rest of it. Raises OSError."""
    filesystem, path = locate(url)
    if is_local(filesystem):
        with open_regular(path) as file:
            file.seek(offset)
            return file.read(size)
    end = offset + size
    return ask(
        filesystem, url, lambda: cast(bytes, filesystem.cat_file(path, start=offset, end=end))
    )


def sum_of(url: str) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits. Raises OSError."""
    with open_stream(url) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # pyright: ignore[reportArgumentType]


def identify(url: str, shard: str) -> ShardIdentity:
    """Look up size and etag (else modification time) of a shard of this name. Raises OSError."""
    filesystem, path = locate(url)
    info = ask(filesystem, url, lambda: cast(dict[str, Any], filesystem.info(path)))
    return ShardIdentity(path=shard, size=int(info["size"]), version=version_of(info))


def modified(url: str) -> datetime | None:
    """Look up when a file was last written, in UTC; None if its store doesn't tell.

    Raises OSError.
    """
    filesystem, path = locate(url)
    try:
        when = ask(filesystem, url, lambda: cast(datetime, filesystem.modified(path)))
    except NotImplementedError:
        return None
    return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)


# --- writing -------------------------------------------------------------------------------------


def commit(url: str, data: bytes, guard: Guard = no_guard) -> None:
    """Make `data` appear at `url` at once, replacing what was there, unless `guard` raises.

    Local: a temporary name, fsync, rename. Object store: one PUT. Raises OSError.
    """
    # Trying a PUT again is safe, even if only its answer was lost: it puts the same bytes.
    # From 100 MiB on s3fs puts parts instead, which appear as one when all have come.
    with _writing(url):
        filesystem, path = locate(url)
        if is_local(filesystem):
            with appearing(Path(path), guard) as file:
                file.write(data)
        else:
            guard()
            ask(filesystem, url, lambda: filesystem.pipe_file(path, data))


def create(url: str, data: bytes) -> bool:
    """Make `data` appear at `url` unless a file is there; return whether that is known.

    Only a local disk can tell that nobody else did so at the same moment. Raises OSError.
    """
    with _writing(url):
        filesystem, path = locate(url)
        if is_local(filesystem):
            return appear_alone(Path(path), data)
        commit(url, data)
        return False


@contextmanager
def committing(url: str, guard: Guard = no_guard) -> Generator[BinaryIO]:
    """Open a file to write, which appears at `url` at once if the block ends without an error.

    For content that may not fit the memory: what goes to an object store waits on a local disk.
    Raises OSError.
    """
    with _writing(url):
        filesystem, path = locate(url)
        if is_local(filesystem):
            with appearing(Path(path), guard) as file:
                yield file
            return
        with make_scratch() as folder:
            waiting = Path(folder) / "file"
            with naming_scratch(), waiting.open("wb") as file:
                yield file
            guard()
            ask(filesystem, url, lambda: filesystem.put_file(str(waiting), path))


def commit_file(url: str, source: Path, guard: Guard = no_guard) -> None:
    """Commit the content of a local file, which may not fit the memory."""
    with _writing(url):
        filesystem, path = locate(url)
        if is_local(filesystem):
            with appearing(Path(path), guard) as file, source.open("rb") as content:
                shutil.copyfileobj(content, file)
        else:
            guard()
            ask(filesystem, url, lambda: filesystem.put_file(str(source), path))


def delete(url: str) -> None:
    """Remove a file; it may be gone already. Raises OSError."""
    with _writing(url), suppress(FileNotFoundError):
        filesystem, path = locate(url)
        ask(filesystem, url, lambda: filesystem.rm_file(path))


@contextmanager
def _writing(url: str) -> Generator[None]:
    """Turn what goes wrong in writing a file into a WriteError that names it."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(url, reason(error)) from shown_cause(error)


def list_files(folder: str) -> set[str]:
    """List all files below a folder, relative to it; none if it does not exist.

    Raises:
        UserError: if it, or a folder in it, can't be listed.
    """
    filesystem, path = locate(folder, PAGE_ATTEMPTS)
    filesystem.invalidate_cache()
    prefix = path.rstrip("/") + "/"
    try:
        found = find_below(filesystem, folder, path)
    except (FileNotFoundError, NotADirectoryError):  # as a bucket that isn't there
        return set()
    except OSError as error:
        problem = f"{folder}: can't be listed: {place_of(folder, error)}{reason(error)}"
        raise UserError(problem) from shown_cause(error)
    return {name[len(prefix) :] for name in found if name.startswith(prefix)}


def is_annotation(name: str) -> bool:
    """Tell whether a name from `list_files` is an annotation file and not one of ours."""
    own = any(part.startswith(OWN_PREFIX) for part in name.split("/"))
    return name.endswith(ANNOTATION_SUFFIX) and not own


# --- names ---------------------------------------------------------------------------------------


def absolute(location: str) -> str:
    """Spell every location in one way, so that prefixes can be compared. Raises UserError."""
    filesystem, path = locate(location)
    return with_protocol(filesystem, path)


def followed(place: str, flag: str) -> str:
    """Return a location that a record names, to read data there.

    Of fsspec's filesystems, some read one through another (`::`), or compute locations by templates
    (`reference`): a record may not choose these.

    Raises:
        InputError: if it does; it has to be named by a flag.
    """
    if "::" in place or place.startswith("reference:"):
        raise InputError(f"{place}: isn't followed, for a record alone names it; name it: {flag}")
    return place


def lies_in(location: str, folder: str) -> bool:
    """Tell whether a location is an absolute folder or lies below it; links are followed."""
    places = absolute(location), folder
    target, source = (p if "://" in p else os.path.realpath(p) for p in places)
    return f"{target.rstrip('/')}/".startswith(f"{source.rstrip('/')}/")
