"""Files by location: read, commit, list, identify, and read in ranges.

A reader never sees half a file: a committed file appears as a whole or not at all.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast
from urllib.parse import unquote

from fsspec import AbstractFileSystem
from fsspec.config import conf as fsspec_config
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import glob_translate

from shardsift.errors import InputError, StorageError, UserError, WriteError
from shardsift.records import ShardIdentity
from shardsift.redaction import reason, shown_cause
from shardsift.storage.local import (
    Guard,
    appear_alone,
    appearing,
    make_scratch,
    naming_scratch,
    no_guard,
    open_regular,
    walk,
)
from shardsift.storage.remote import (
    READ_BLOCK_BYTES,
    AheadReader,
    ResumingReader,
    patiently,
    version_of,
)

PAGE_ATTEMPTS = 3
"""A listing of a million files has a thousand pages; a failed one mustn't repeat them all."""

ResultT = TypeVar("ResultT")

S3_PROTOCOLS = ("s3://", "s3a://")
_S3_LOGIN = re.compile(r"\w+://(?!arn:)[^/]*[:@]")
_LOGIN = re.compile(r"(?:https?://[^/]*|\w+://[^/]*:[^/]*)@")
"""Login in a URL; a name without a password, as in `ssh://me@host`, is no secret."""


def locate(url: str, s3_attempts: int = 1) -> tuple[Any, str]:
    """Find the filesystem of a URL, and the path in it.

    Raises:
        UserError: for a login, which would end up in `_run.json`.
        StorageError: if there is no way to that filesystem.
    """
    if not url.startswith(S3_PROTOCOLS):
        if _LOGIN.match(url):
            raise UserError(f"{url}: URLs take no login; {_login_of(url)}")
        return _open(url)
    if _S3_LOGIN.match(url):  # s3fs would take the login for a bucket, and print it
        raise UserError(
            f"{url}: s3:// URLs take no login; "
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead"
        )
    # botocore and s3fs each try five times, nested, so a store that is down would get 150 requests.
    # Our own retries are enough, and only they log that they wait.
    configured = fsspec_config.get("s3", {}).get("config_kwargs", {})
    attempts = {"retries": {"total_max_attempts": s3_attempts}}
    filesystem, path = _open(url, config_kwargs={**configured, **attempts})
    filesystem.retries = 1
    return filesystem, path


def _open(url: str, **options: Any) -> tuple[Any, str]:
    try:
        return cast(tuple[Any, str], url_to_fs(url, **options))
    except Exception as error:  # noqa: BLE001  # ftp's logs in, others miss arguments
        raise StorageError(url, reason(error)) from shown_cause(error)


def _login_of(url: str) -> str:
    """Describe where fsspec looks for the login of a URL."""
    protocol = url.partition("://")[0]
    if protocol.startswith("http"):
        return "put its header into FSSPEC_HTTP's headers instead"
    name = protocol.upper()
    return f"set FSSPEC_{name}_USERNAME and FSSPEC_{name}_PASSWORD instead"


def is_local(filesystem: Any) -> bool:
    """Return whether a filesystem is that of this machine."""
    return isinstance(filesystem, LocalFileSystem)


def ask(filesystem: Any, url: str, call: Callable[[], ResultT]) -> ResultT:
    """Return what `call` returns, with patience if the filesystem is remote."""
    return call() if is_local(filesystem) else patiently(url, call)


def with_protocol(filesystem: Any, path: str) -> str:
    """Spell a path of a filesystem as a location."""
    if is_local(filesystem):
        return os.path.abspath(path)  # noqa: PTH100  # links stay, `..` goes
    return cast(str, filesystem.unstrip_protocol(path))


def find_below(filesystem: Any, location: str, path: str) -> Iterable[str]:
    """List all files below a folder. Raises OSError."""
    if is_local(filesystem):
        return [entry.path for entry in walk(path) if not entry.is_dir()]
    return ask(filesystem, location, lambda: cast(list[str], filesystem.find(path)))


def pattern_of(glob: str) -> re.Pattern[str]:
    """Translate a glob into what matches whole paths, as fsspec understands it."""
    return re.compile(glob_translate(glob))


def place_of(location: str, error: Exception) -> str:
    """Return the path of an error, if it is below the location that was asked for."""
    name = getattr(error, "filename", None)
    if not isinstance(name, str) or name.endswith(location.lstrip("@").rstrip("/")):
        return ""
    return f"{name} "


OWN_PREFIX = "_"
"""Names that begin so are ours, and invisible to pyarrow, DuckDB and Spark."""

SHARD_SUFFIX = ".tar"
PARQUET_SUFFIX = ANNOTATION_SUFFIX = ".parquet"
PICTURES_SUFFIX = ".pictures"
SHARD_SUFFIXES = (SHARD_SUFFIX, PARQUET_SUFFIX, PICTURES_SUFFIX)
"""Ends of shards' names: tars, Parquet files, and pictures of a folder, which have no file."""

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


# --- reading -------------------------------------------------------------------------------------


def open_read(url: str) -> io.BufferedReader:
    """Open for reading with a bounded read-ahead; the caller closes it. Raises OSError.

    A remote read that breaks continues where it broke.
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
    """Write `data` to `url` as a whole, replacing an earlier file, unless `guard` raises.

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
    """Write `data` to `url` unless a file is there; return True if no other writer did the same.

    Only a local disk can tell. Raises OSError.
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


class Summing(io.RawIOBase):
    """Passes on written bytes, computes their SHA-256, and reports how many there are."""

    def __init__(self, file: BinaryIO, report: Callable[[int], object] = int) -> None:
        super().__init__()
        self._sum = hashlib.sha256()
        self._file = file
        self._report = report
        self._position = 0

    @property
    def sha256(self) -> str:
        """The SHA-256 of all that was written, in hexadecimal digits."""
        return self._sum.hexdigest()

    def writable(self) -> bool:
        """Return true."""
        return True

    def tell(self) -> int:
        """Return the number of bytes that were written."""
        return self._position

    def write(self, data: Any, /) -> int:
        """Write all of it."""
        size = memoryview(data).nbytes
        self._file.write(data)
        self._sum.update(data)
        self._position += size
        self._report(self._position)
        return size


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
    except (FileNotFoundError, NotADirectoryError):  # a bucket that doesn't exist
        return set()
    except OSError as error:
        problem = f"{folder}: can't be listed: {place_of(folder, error)}{reason(error)}"
        raise UserError(problem) from shown_cause(error)
    return {name[len(prefix) :] for name in found if name.startswith(prefix)}


def is_annotation(name: str) -> bool:
    """Return whether a name from `list_files` is an annotation file and no record."""
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
        raise InputError(f"{place}: isn't opened, as only a record names it; pass it to {flag}")
    return place


def lies_in(location: str, folder: str) -> bool:
    """Return whether a location is an absolute folder or below it; links are followed."""
    places = absolute(location), folder
    target, source = (p if "://" in p else os.path.realpath(p) for p in places)
    return f"{target.rstrip('/')}/".startswith(f"{source.rstrip('/')}/")


@dataclass(frozen=True, slots=True)
class Ranges:
    """Access to byte ranges of one file.

    Attributes:
        read_into: fills memory from an offset, returns the number of bytes, raises OSError.
        announce: called with offset and size some time before a read, for read-ahead from a disk.
        gap: ranges closer than this number of bytes are read as one.
        threads: number of reads at a time.
        in_piece: ranges that a thread reads one after the other.
    """

    read_into: Callable[[int, memoryview], int]
    announce: Callable[[int, int], None]
    gap: int
    threads: int
    in_piece: int


@contextmanager
def open_ranges(url: str) -> Generator[Ranges | None]:
    """Open a file on disk once; of a remote one each range is a request. Raises OSError.

    None if the store can't give ranges, as some web servers.
    """
    location = absolute(url)
    if "://" in location:
        gives_ranges = len(read_range(url, 1, 1)) == 1  # servers without ranges send the whole file

        def read_remote(offset: int, memory: memoryview) -> int:
            data = read_range(url, offset, len(memory))
            memory[: len(data)] = data
            return len(data)

        ranges = Ranges(read_remote, _no_matter, gap=1 << 20, threads=8, in_piece=1)
        yield ranges if gives_ranges else None
        return
    with open_regular(location) as file:
        descriptor = file.fileno()
        advise = getattr(os, "posix_fadvise", None)  # missing on some systems

        def read_local(offset: int, memory: memoryview) -> int:
            return os.preadv(descriptor, [memory], offset)

        def announce(offset: int, size: int) -> None:
            if advise:
                advise(descriptor, offset, size, os.POSIX_FADV_WILLNEED)

        if advise:  # stops the kernel's read-ahead
            advise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        yield Ranges(read_local, announce, gap=32 << 10, threads=1, in_piece=1 << 10)


def _no_matter(offset: int, size: int) -> None:
    """Announce nothing: no caller listens."""


_PROTOCOL = "shardsift"


class _RemoteFiles(AbstractFileSystem):
    """Files by the names that `located` gives them."""

    protocol = _PROTOCOL
    cachable = False

    def _open(self, path: str, *_: Any, **__: Any) -> Any:
        return open_read(path)

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return name, size and kind of a file."""
        url = str(self._strip_protocol(path))
        return {"name": url, "size": identify(url, url).size, "type": "file"}

    def modified(self, path: str) -> datetime:
        """Return when a file was last written, or the beginning of time."""
        return modified(str(self._strip_protocol(path))) or datetime.fromtimestamp(0, UTC)

    def glob(self, path: str, *_: Any, **__: Any) -> list[str]:
        """Return the path: names with wildcards are looked up before."""
        return [path]


def remote_files() -> Any:
    """Return a filesystem of fsspec that knows files by the names that `located` gives them."""
    return _RemoteFiles()


def located(url: str) -> str:
    """Spell the location of a file for a library: a path, or a name that `remote_files` knows."""
    location = absolute(url)
    return f"{_PROTOCOL}://{location}" if "://" in location else location
