"""Remote files for libraries that read through fsspec, with the patience of `open_read`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fsspec import AbstractFileSystem

from shardsift.storage.files import absolute, identify, modified, open_read

_PROTOCOL = "shardsift"


class RemoteFiles(AbstractFileSystem):
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


def located(url: str) -> str:
    """Spell the location of a file for a library: a path, or a name that `RemoteFiles` knows."""
    location = absolute(url)
    return f"{_PROTOCOL}://{location}" if "://" in location else location
