"""Local files that appear at once or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

_SUFFIX: Final = ".tmp"

_BUFFER_BYTES: Final = 1 << 20
"""With Python's 8 kB, writing a sample after the other takes three times as long."""


@contextmanager
def appearing(path: Path) -> Generator[BinaryIO]:
    """A file to write, which takes its name when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"_{path.name}.{secrets.token_hex(4)}{_SUFFIX}")
    try:
        with temporary.open("wb", buffering=_BUFFER_BYTES) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def sweep(folder: Path) -> None:
    """Delete what killed processes left of files that were about to appear below a folder."""
    for leftover in folder.rglob(f"_*{_SUFFIX}"):
        leftover.unlink(missing_ok=True)


def prune(folder: Path) -> None:
    """Delete a folder and those below it, as far as they hold no file."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
