"""Tar headers as bytes: where files lie in a piece of an archive, and headers for a changed one.

`tarfile` takes as long for a header as the machine for copying a picture. So the kinds that nearly
all shards are made of (ustar, GNU, and pax without sparse files) are read here, and whatever else
there is by `tarfile`.
"""

from __future__ import annotations

import io
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
_SPARSE: Final = b"S"
_BEFORE_OTHERS: Final = (b"x", b"g", b"X", b"L", b"K")
"""Kinds of headers that are followed by further ones of the same file."""
_KIND, _IS_EXTENDED, _IS_EXTENDED_TOO = 156, 482, 504
"""Places of a header's kind, and of GNU's mark that a sparse map goes on in another block."""
_SIZE, _SUM = slice(124, 136), slice(148, 156)
_USTAR: Final = b"ustar"


class Member(NamedTuple):
    """A file of an archive: its headers, its content, and the zeros that fill its last block.

    `begin`, `data` and `end` count from the beginning of the piece; `name` is as in the archive.
    One that isn't plain, but sparse or of a size in a pax header, can't get another size. A tuple,
    since it is made for every file.
    """

    name: bytes
    begin: int
    data: int
    size: int
    end: int
    is_plain: bool = True


class TarPiece:
    """A piece of an archive."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self._file: io.BytesIO | None = None

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


def following(headers: bytes) -> int:
    """Return how many bytes of headers follow these, of the same file; 0 if none do.

    Raises ValueError if a size isn't written in octal digits.
    """
    at = 0
    while at < len(headers):
        kind = headers[at + _KIND : at + _KIND + 1]
        if kind == _SPARSE:
            at += BLOCK
            is_extended = headers[at - BLOCK + _IS_EXTENDED]
            while is_extended and at < len(headers):
                is_extended = headers[at + _IS_EXTENDED_TOO]
                at += BLOCK
            return BLOCK if is_extended else 0
        if kind not in _BEFORE_OTHERS:
            return 0
        size = _size(headers[at + _SIZE.start : at + _SIZE.stop])
        if size is None:
            raise ValueError("a tar header whose size can't be read")
        at += BLOCK + padded(size)
    return at - len(headers) + BLOCK


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
