"""Patience with remote stores: what fails for a moment is tried again, reads where they broke."""

from __future__ import annotations

import errno
import io
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Final, Self, TypeVar, cast

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from shardsift.redaction import reason, redact, shown_cause

logger: Final = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, kw_only=True, slots=True)
class Backoff:
    """Tries of a call, and the seconds between them: doubling, plus up to `first_wait`.

    The random part keeps a thousand actors that were told to slow down from retrying at once.
    """

    tries: int = 6
    first_wait: float = 1.0
    longest_wait: float = 15.0


BACKOFF = Backoff()
"""Some half a minute of waiting, over six tries, before a store counts as gone."""

READ_BLOCK_BYTES = 8 << 20
"""Bytes of one request, and so the most that is fetched again after a break."""

_SMALLEST_BLOCK_BYTES = 256 << 10

_VERSION_KEYS = (
    *("ETag", "etag", "md5Hash", "blob_id"),
    *("mtime", "LastModified", "last_modified", "Last-Modified", "created"),
)

_PERMANENT = (
    FileNotFoundError,  # also a missing bucket
    PermissionError,  # also wrong credentials
    IsADirectoryError,
    NotADirectoryError,
    FileExistsError,
    NotImplementedError,
    ImportError,
    ValueError,
)
# By name, because the libraries that raise these are optional.
_PERMANENT_NAMES = {
    "ConfigNotFound",
    "DefaultCredentialsError",
    "NoCredentialsError",
    "NoRegionError",
    "ParamValidationError",
    "PartialCredentialsError",
    "ProfileNotFound",
}
_S3_ADVICE = (
    "; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; for a public bucket "
    "FSSPEC_S3_ANON=true"
)
_ADVICE = {
    **dict.fromkeys(("NoCredentialsError", "PartialCredentialsError"), _S3_ADVICE),
    "GatedRepoError": "; accept the data set's terms on the hub, and log in: hf auth login, or set "
    "HF_TOKEN",
}
# What s3fs makes of requests that are wrong in themselves: a bucket's name, a region.
_PERMANENT_ERRNOS = {
    errno.EINVAL,
    errno.EPERM,
    errno.ENOSYS,
    errno.ENAMETOOLONG,
    errno.EMSGSIZE,
    errno.EREMCHG,
}
# Bodies damaged on their way and lost races, which s3fs puts under EINVAL with the lasting ones.
_TRANSIENT_S3_CODES = {"BadDigest", "IncompleteBody", "PreconditionFailed", "412"}


class ChangedError(OSError):
    """A file that was replaced while it was read."""


def version_of(info: dict[str, Any]) -> str:
    """Return the etag, else the modification time, as fsspec tells it; empty if there is none."""
    return next((str(info[key]) for key in _VERSION_KEYS if info.get(key)), "")


def patiently(name: str, call: Callable[[], ResultT]) -> ResultT:
    """Return what `call` returns, tried again while it fails for a reason that may pass.

    `name` is the URL that the log shows, less its secrets.

    Raises:
        OSError: with one line, whatever the store's library raised. What can't pass keeps its
            built-in type, e.g. FileNotFoundError.
    """
    backoff = BACKOFF
    started = monotonic()

    def log(state: RetryCallState) -> None:
        error = state.outcome and state.outcome.exception()
        logger.warning(
            "%s: %s; attempt %d of %d in %.1f s",
            redact(name),
            reason(error) if error else "",
            state.attempt_number + 1,
            backoff.tries,
            state.upcoming_sleep,
        )

    retrying = Retrying(
        stop=stop_after_attempt(backoff.tries),
        wait=wait_exponential(backoff.first_wait, backoff.longest_wait)
        + wait_random(0, backoff.first_wait),
        retry=retry_if_exception(_may_pass),
        before_sleep=log,
        reraise=True,
    )
    try:
        return retrying(call)
    except Exception as error:  # noqa: BLE001  # stores raise whatever they like
        ending = ""
        if _may_pass(error):
            ending = f" ({backoff.tries} tries in {monotonic() - started:.0f} s)"
        kinds = (*_PERMANENT[:5], ChangedError)
        kind = next((kind for kind in kinds if isinstance(error, kind)), OSError)
        advice = _ADVICE.get(type(error).__name__, "")
        as_os_error = cast(type[OSError], kind)(reason(error) + advice + ending)
        raise as_os_error from shown_cause(error)


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, (*_PERMANENT, ChangedError)) or type(error).__name__ in _PERMANENT_NAMES:
        return False
    status = getattr(error, "status", None)  # aiohttp's, for http:// and https://
    if status is None:
        status = getattr(getattr(error, "response", None), "status_code", None)  # the hub's
    if isinstance(status, int) and 400 <= status < 500:
        return status in (408, 425, 429)
    if isinstance(error, OSError) and error.errno in _PERMANENT_ERRNOS:
        response = getattr(error.__cause__, "response", None)
        code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
        return code in _TRANSIENT_S3_CODES
    return isinstance(error, Exception)


class PlacedReader(io.RawIOBase):
    """A file that is read from a place on, and from any place if it has a size.

    Attributes:
        size: in bytes; None if an HTTP server tells none, or can't give ranges.
    """

    def __init__(self, size: int | None = None) -> None:
        """Begin at the first byte."""
        super().__init__()
        self.size = size
        self._position = 0

    def readable(self) -> bool:
        """Return true."""
        return True

    def seekable(self) -> bool:
        """Return whether there is a size."""
        return self.size is not None

    def tell(self) -> int:
        """Return the position of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position; the next read requests the bytes there."""
        if self.size is None:
            raise io.UnsupportedOperation("seek")
        starts = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}
        self._position = starts[whence] + offset
        return self._position


class ResumingReader(PlacedReader):
    """A remote file that continues at the byte where a read broke, as long as it is the same file.

    Only the position is kept: a block that broke is requested again, so the caller gets every byte
    once. If a block breaks twice at the same byte, smaller ones are requested, for connections that
    never last for 8 MB.
    """

    def __init__(self, filesystem: Any, path: str, name: str, like: Self | None = None) -> None:
        """Open a file, which has to be the file of `like`."""
        super().__init__()
        self._filesystem = filesystem
        self._path = path
        self._name = name
        self._file: Any = None
        self._identity: tuple[object, str] = like._identity if like else (None, "")
        self._has_given = like is not None
        self._breaks_here = 0
        self._block = READ_BLOCK_BYTES
        patiently(name, self._open)

    def readinto(self, buffer: Any, /) -> int:
        """Fill at most one block. Raises OSError, if it was tried often enough."""
        view = memoryview(buffer).cast("B")
        data = self.take(len(view))
        view[: len(data)] = data
        return len(data)

    def take(self, most: int) -> bytes:
        """Read at most one block. Raises OSError, if it was tried often enough."""
        left = most if self.size is None else min(most, self.size - self._position)
        if left <= 0:
            return b""
        data = patiently(self._name, lambda: self._read(left))
        self._position += len(data)
        self._has_given = True
        self._breaks_here = 0
        return data

    def close(self) -> None:
        """Close the file below too."""
        self._drop()
        super().close()

    def _read(self, left: int) -> bytes:
        try:
            file = self._open() if self._file is None else self._file
            if self.seekable():
                file.seek(self._position)
            wanted = min(left, self._block)
            data = cast(bytes, file.read(wanted))
            if len(data) > wanted or (self.seekable() and not data):
                raise OSError(f"gave {len(data)} bytes for {wanted} at byte {self._position}")
            if self.seekable() and len(data) < wanted:
                logger.warning(
                    "%s: gave %d bytes for %d at byte %d; continuing there",
                    redact(self._name),
                    len(data),
                    wanted,
                    self._position,
                )
        except Exception:
            self._drop()
            self._breaks_here += 1
            if self._breaks_here > 1:
                self._block = max(self._block // 2, _SMALLEST_BLOCK_BYTES)
            raise
        return data

    def _open(self) -> Any:
        """Open at the position, and check that it is the file whose beginning was read."""
        self._drop()
        if self._breaks_here:
            self._filesystem.invalidate_cache(self._path)  # else fsspec answers from an old listing
        self._file = file = self._filesystem.open(
            self._path, "rb", block_size=READ_BLOCK_BYTES, cache_type="none"
        )
        info: dict[str, Any] = getattr(file, "details", None) or {}
        if not version_of(info):
            info = self._filesystem.info(self._path)
        identity = info.get("size"), version_of(info)
        if self._has_given and identity != self._identity:
            raise ChangedError("changed while it was read")
        self._identity = identity
        # Streams without seek have no size, whatever their metadata says.
        self.size: Any | None = getattr(file, "size", info.get("size"))
        if not self.seekable():
            left = self._position
            while left:
                skipped = len(self._file.read(min(left, READ_BLOCK_BYTES)))
                if not skipped:
                    raise ChangedError("is shorter than the bytes read before")
                left -= skipped
        return file

    def _drop(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(Exception):  # the read has already raised its error
                file.close()


# --- from front to back --------------------------------------------------------------------------

BLOCKS_AHEAD = 6
"""Requests at a time, and blocks that are held in memory."""


class AheadReader(PlacedReader):
    """A file whose bytes come in order, each once, though several blocks of it are asked for."""

    def __init__(self, first: ResumingReader, open_another: Callable[[], ResumingReader]) -> None:
        """Take over a reader of a file that has a size.

        `open_another` opens the same file once more, and raises if it has become another.
        """
        assert first.size is not None, "a stream can't be read at several places"
        super().__init__(first.size)
        self._end = first.size
        self._open_another = open_another
        self._idle: SimpleQueue[ResumingReader] = SimpleQueue()
        self._idle.put(first)
        self._pool = ThreadPoolExecutor(BLOCKS_AHEAD, "ahead")
        self._blocks: deque[tuple[int, Future[bytes]]] = deque()

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer from the current block. Raises OSError after the last attempt."""
        memory = memoryview(buffer).cast("B")
        if not memory or self._position >= self._end:
            return 0
        begin, block = self._wait_for_block()
        data = memoryview(block)[self._position - begin :][: len(memory)]
        memory[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        """Wait for pending reads, and close all readers."""
        if self.closed:
            return
        self._pool.shutdown(cancel_futures=True)
        self._blocks.clear()
        while not self._idle.empty():
            self._idle.get().close()
        super().close()

    def _wait_for_block(self) -> tuple[int, bytes]:
        """Return where the block begins that holds the next byte, and its content."""
        while self._blocks and not 0 <= self._position - self._blocks[0][0] < READ_BLOCK_BYTES:
            self._blocks.popleft()[1].cancel()
        begin = self._blocks[-1][0] + READ_BLOCK_BYTES if self._blocks else self._position
        while len(self._blocks) < BLOCKS_AHEAD and begin < self._end:
            self._blocks.append((begin, self._pool.submit(self._fetch, begin)))
            begin += READ_BLOCK_BYTES
        begin, block = self._blocks[0]
        return begin, block.result()

    def _fetch(self, begin: int) -> bytes:
        try:
            reader = self._idle.get_nowait()
        except Empty:
            reader = self._open_another()
        try:
            reader.seek(begin)
            end = min(begin + READ_BLOCK_BYTES, self._end)
            parts: list[bytes] = []
            while reader.tell() < end:
                parts.append(reader.take(end - reader.tell()))
            return parts[0] if len(parts) == 1 else b"".join(parts)
        finally:
            self._idle.put(reader)
