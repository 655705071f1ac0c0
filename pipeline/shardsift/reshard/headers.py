"""Tar headers as bytes: where files lie in a piece of an archive, and headers for a changed one.

`tarfile` takes as long for a header as the machine for copying a picture. So the kinds that nearly
all shards are made of (ustar, GNU, and pax without sparse files) are read here, and whatever else
there is by `tarfile`.
"""

from __future__ import annotations

import io
import mmap
import struct
import tarfile
from typing import Any, Final, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

BLOCK: Final = tarfile.BLOCKSIZE

_ENCODING: Final = {"encoding": "utf-8", "errors": "surrogateescape"}
_ZEROS: Final = bytes(BLOCK)
_FILE: Final = b"0"
_PAX: Final = b"x"
_FIELDS: Final = struct.Struct("100s 24x 12s 20x c 100x 5s 83x 155s 12x")
"""Name, size, kind, magic and prefix of a header."""
_SIZE, _SUM = slice(124, 136), slice(148, 156)
_USTAR: Final = b"ustar"


class Member(NamedTuple):
    """A file of an archive: its headers, its content, and the zeros that fill its last block.

    `begin`, `data` and `end` count from the beginning of the piece; `name` is as in the archive.
    A tuple, since it is made for every file.
    """

    name: bytes
    begin: int
    data: int
    size: int
    end: int
    can_resize: bool = True


class TarPiece:
    """A piece of an archive; `file` is the same bytes, if they are a file already."""

    def __init__(self, data: memoryview, file: mmap.mmap | None = None) -> None:
        self.data = data
        self._file: io.BytesIO | mmap.mmap | None = file

    def next_file(self, position: int) -> Member | None:
        """Find the first regular file whose headers begin at a place or behind it; None at the end.

        Its content may lie behind the end of the piece. Raises tarfile.TarError for what is no
        header.
        """
        if position + BLOCK > len(self.data):
            return None
        name, digits, kind, magic, prefix = _FIELDS.unpack_from(self.data, position)
        if kind == _FILE and magic == _USTAR and (size := _size(digits)) is not None:
            data = position + BLOCK
            return Member(_name(prefix, name), position, data, size, data + padded(size))
        if bytes(self.data[position : position + BLOCK]) == _ZEROS:
            return None
        return self._extended_file(position) or self._any_file(position)

    def _extended_file(self, position: int) -> Member | None:
        """Read a file that has a pax header; None if it has none, or an unusual one."""
        _, digits, kind, _, _ = _FIELDS.unpack_from(self.data, position)
        size = _size(digits)
        if kind != _PAX or size is None:
            return None
        data = position + 2 * BLOCK + padded(size)
        records = _pax_records(bytes(self.data[position + BLOCK : position + BLOCK + size]))
        if records is None or data > len(self.data):
            return None
        name, digits, kind, _, prefix = _FIELDS.unpack_from(self.data, data - BLOCK)
        if kind != _FILE or (size := _size(digits)) is None:
            return None
        size = int(records.get(b"size", size))
        name = records.get(b"path", b"").rstrip(b"/") or _name(prefix, name)  # as tarfile does
        return Member(name, position, data, size, data + padded(size), b"size" not in records)

    def _any_file(self, position: int) -> Member | None:
        if self._file is None:
            self._file = io.BytesIO(self.data)
        self._file.seek(position)
        file = cast(Any, self._file)
        with tarfile.open(fileobj=file, mode="r:", **cast(Any, _ENCODING)) as tar:
            while (member := tar.next()) is not None and not member.isreg():
                pass
            if member is None:
                return None
            name = member.name.encode(**_ENCODING)
            is_plain = not member.issparse() and "size" not in member.pax_headers
            end = cast(Any, tar).offset
            return Member(name, member.offset, member.offset_data, member.size, end, is_plain)


SizeT = TypeVar("SizeT", int, NDArray[np.int64])


def padded(size: SizeT) -> SizeT:
    """Round up to the size of whole blocks."""
    return -(-size // BLOCK) * BLOCK


def resized(headers: bytes, size: int) -> bytes:
    """Change the headers of a file whose content has another size now."""
    last = headers[-BLOCK:]
    digits = b"%011o\0" % size
    checksum = int(last[_SUM].strip(b"\0 "), 8) - sum(last[_SIZE]) + sum(digits)
    between = last[_SIZE.stop : _SUM.start]
    changed = last[: _SIZE.start] + digits + between + b"%06o\0 " % checksum + last[_SUM.stop :]
    return headers[:-BLOCK] + changed


def new_headers(name: bytes, size: int) -> bytes:
    """Make the headers of a new file; equal arguments give equal bytes."""
    member = tarfile.TarInfo(name.decode(**_ENCODING))
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT, **_ENCODING)


def end_of_archive(size: int) -> bytes:
    """Return what ends an archive of so many bytes, up to a whole record."""
    marker = 2 * BLOCK
    return bytes(marker + -(size + marker) % tarfile.RECORDSIZE)


def _name(prefix: bytes, name: bytes) -> bytes:
    name = name.partition(b"\0")[0]
    return prefix.partition(b"\0")[0] + b"/" + name if prefix[0] else name


def _size(digits: bytes) -> int | None:
    """Read a size; None if it isn't written in octal digits."""
    try:
        return int(digits.partition(b"\0")[0] or b"0", 8)
    except ValueError:
        return None


def _pax_records(data: bytes) -> dict[bytes, bytes] | None:
    """Parse a pax header; None if its keywords change more than name and size."""
    records: dict[bytes, bytes] = {}
    while data:
        length = data.partition(b" ")[0]
        if not length.isdigit() or not len(length) + 1 < int(length) <= len(data):
            return None
        keyword, _, value = data[len(length) + 1 : int(length) - 1].partition(b"=")
        if keyword.startswith(b"GNU.sparse") or keyword == b"hdrcharset":
            return None
        records[keyword] = value
        data = data[int(length) :]
    return records
