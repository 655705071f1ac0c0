"""Numbers, sizes and commands as people write them."""

from __future__ import annotations

import shlex
from math import ceil

from pydantic import ByteSize


def count(number: int, noun: str) -> str:
    """Join a number and its noun: `1 shard`, `1,234 shards`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def byte_size(size: float) -> str:
    """Format a number of bytes: `1.2GB`."""
    return ByteSize(size).human_readable(decimal=True)


def at_most(share: float) -> str:
    """Format an upper bound as a percentage, rounded up."""
    return f"{ceil(share * 1e5) / 1e3:.3f}%"


def command(verb: str, *words: str) -> str:
    """Return a `shardsift` command line, quoted for a shell."""
    return shlex.join(["shardsift", verb, *words])


def beside(location: str, what: str) -> str:
    """Name a folder next to another: `corpus-kept` for `corpus`."""
    return f"{location.rstrip('/')}-{what}"


def printable(name: str) -> str:
    """Return a file's name as keys have it: bytes that aren't UTF-8 become `\\xff`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
