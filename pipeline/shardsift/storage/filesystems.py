"""The only module that knows fsspec: the filesystem of a location, and how it is asked.

Locations are plain paths or fsspec URLs (`s3://…`, `gs://…`, `memory://…`). Remote stores are tried
again where they fail for a moment, see `remote`; local files are not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

from fsspec.config import conf as fsspec_config
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import glob_translate

from shardsift.errors import StorageError, UserError
from shardsift.redaction import reason, shown_cause
from shardsift.storage.local import walk
from shardsift.storage.remote import patiently

PAGE_ATTEMPTS = 3
"""A listing of a million files is a thousand pages: one that fails mustn't repeat them all."""

ResultT = TypeVar("ResultT")

S3_PROTOCOLS = ("s3://", "s3a://")
_S3_LOGIN = re.compile(r"\w+://(?!arn:)[^/]*[:@]")
_LOGIN = re.compile(r"(?:https?://[^/]*|\w+://[^/]*:[^/]*)@")
"""Of a name alone, as in `ssh://me@host` or `abfs://container@account`, nothing is secret."""


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
    if _S3_LOGIN.match(url):  # s3fs would take it for the bucket, and say it aloud
        raise UserError(
            f"{url}: s3:// URLs take no login; "
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead"
        )
    # botocore and s3fs try five times each, one inside the other: a store that is down would be
    # asked 150 times. Our own patience is enough, and it alone says in the log that it waits.
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
    """Say where fsspec looks for the login of a URL."""
    protocol = url.partition("://")[0]
    if protocol.startswith("http"):
        return "put its header into FSSPEC_HTTP's headers instead"
    name = protocol.upper()
    return f"set FSSPEC_{name}_USERNAME and FSSPEC_{name}_PASSWORD instead"


def is_local(filesystem: Any) -> bool:
    """Tell whether a filesystem is that of this machine."""
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
    """Name the file that an error is about if it isn't what was asked for, but deep below."""
    name = getattr(error, "filename", None)
    if not isinstance(name, str) or name.endswith(location.lstrip("@").rstrip("/")):
        return ""
    return f"{name} "
