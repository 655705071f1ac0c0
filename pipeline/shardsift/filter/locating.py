"""Names of shards from their locations: paths below the folder that names are relative to."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence

from shardsift.errors import InputError
from shardsift.storage.files import SHARD_SUFFIX, absolute

_PIPE = "pipe:"
_QUERY = re.compile(r"(?<=\.tar)[?#].*$", re.DOTALL)


class ShardLocator:
    """Finds the names of shards, which lie below one folder.

    That is the given one, else the one in which they were scored, else the one that the first shard
    must lie below.
    """

    def __init__(self, scored_below: str, given: str | None) -> None:
        """Take over where shards were scored, and where they lie now, if that is known."""
        self._is_given = given is not None
        root = _spelled(scored_below if given is None else given)
        without_protocol = root.partition("://")[2]  # as Ray Data's paths in buckets are
        self._roots = [root, absolute(without_protocol)] if without_protocol else [root]
        self._moved_to: str | None = None

    def name_of(self, url: str, knows: Callable[[str], bool]) -> str | None:
        """Find the name of the shard at a URL, which may be a command; None if it isn't known.

        Raises:
            InputError: if it may be one of several.
        """
        location = _location(url)
        name = self._below(location)
        if name is not None or self._is_given:
            return name if name is not None and knows(name) else None
        parts = location.split("/")
        names = ["/".join(parts[place:]) for place in range(len(parts))]
        known = [name for name in names if knows(name)]
        if len(known) > 1:
            raise InputError(
                f"{url}: may be {' or '.join(known)} of the keep-list; tell where the "
                "shards lie now with shards="
            )
        if not known:
            return None
        self._check_one_folder(url, location.removesuffix(known[0]))
        return known[0]

    def _below(self, location: str) -> str | None:
        """Return the part of a location below the folder; None if it lies elsewhere."""
        for root in filter(None, self._roots):
            inside = f"{root.rstrip('/')}/"
            if location.startswith(inside):
                return location.removeprefix(inside)
        return None

    def _check_one_folder(self, url: str, folder: str) -> None:
        if self._moved_to is None:
            self._moved_to = folder
        if folder != self._moved_to:
            raise InputError(
                f"{url}: lies below another folder than the shards before, "
                f"{self._moved_to or '.'}; tell where the shards lie now with shards="
            )


def _location(url: str) -> str:
    """Return where a shard lies. Raises InputError if a command names several, or none."""
    if not url.startswith(_PIPE):
        return _spelled(_without_query(url))
    words = [_without_query(word) for word in _words(url)]
    found = dict.fromkeys(word for word in words if word.endswith(SHARD_SUFFIX))
    if len(found) != 1:
        number = "no shard" if not found else "several shards"
        raise InputError(f"{url}: names {number}, so that it can't be looked up")
    return _spelled(next(iter(found)))


def _words(command: str) -> Sequence[str]:
    try:
        return shlex.split(command.removeprefix(_PIPE))
    except ValueError as error:
        raise InputError(f"{command}: can't be looked up: {error}") from error


def _without_query(location: str) -> str:
    return _QUERY.sub("", location) if "://" in location else location


def _spelled(location: str) -> str:
    """Spell a location in one way; what no filesystem here knows stays as it is."""
    if not location or ("://" in location and not location.startswith("file://")):
        return location.rstrip("/")
    return absolute(location)
