"""Tar headers as bytes: where files lie in a piece of an archive, and headers for a changed one.

`tarfile` takes as long for a header as the machine for copying a picture. So the kinds that nearly
all shards are made of (ustar, GNU, and pax without sparse files) are read here, and whatever else
there is by `tarfile`.
"""

from __future__ import annotations

import io
import mmap
import tarfile
from typing import Any, Final, NamedTuple, cast

BLOCK: Final = tarfile.BLOCKSIZE
Piece = bytes | mmap.mmap

_ENCODING: Final = {"encoding": "utf-8", "errors": "surrogateescape"}
_ZEROS: Final = bytes(BLOCK)
_REGULAR: Final = frozenset(b"\0" + b"0")
_PAX: Final = ord("x")
_NAME, _SIZE, _SUM, _PREFIX = slice(0, 100), slice(124, 136), slice(148, 156), slice(345, 500)
_KIND, _MAGIC = 156, slice(257, 262)


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


def next_file(piece: Piece, position: int) -> Member | None:
    """The first regular file whose headers begin at a place or behind it; None at the end.

    Its content may lie behind the end of the piece. Raises tarfile.TarError for what is no header.
    """
    begin, records = position, dict[bytes, bytes]()
    while True:
        header = piece[position : position + BLOCK]
        if len(header) < BLOCK or header == _ZEROS:
            return None
        kind, size = header[_KIND], _size(header)
        if size is None or header[_MAGIC] != b"ustar":
            return _any_file(piece, begin)
        data = position + BLOCK
        if kind == _PAX:
            found = _pax_records(piece[data : data + size])
            if found is None:
                return _any_file(piece, begin)
            records |= found
            position = data + padded(size)
            continue
        name = records.get(b"path") or _name(header)
        if kind not in _REGULAR or name.endswith(b"/"):
            return _any_file(piece, begin)
        size = int(records.get(b"size", size))
        return Member(name, begin, data, size, data + padded(size), b"size" not in records)


def padded(size: int) -> int:
    """The size of whole blocks that hold so many bytes."""
    return -(-size // BLOCK) * BLOCK


def resized(headers: bytes, size: int) -> bytes:
    """The headers of a file whose content has another size now."""
    last = bytearray(headers[-BLOCK:])
    last[_SIZE] = b"%011o\0" % size
    last[_SUM] = b" " * 8
    last[_SUM] = b"%06o\0 " % sum(last)
    return headers[:-BLOCK] + bytes(last)


def new_headers(name: bytes, size: int) -> bytes:
    """Headers of a file that wasn't there before; equal arguments give equal bytes."""
    member = tarfile.TarInfo(name.decode(**_ENCODING))
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT, **_ENCODING)


def end_of_archive(size: int) -> bytes:
    """What ends an archive of so many bytes, up to a whole record."""
    marker = 2 * BLOCK
    return bytes(marker + -(size + marker) % tarfile.RECORDSIZE)


def _name(header: bytes) -> bytes:
    name = header[_NAME].split(b"\0", 1)[0]
    if header[_PREFIX.start]:
        return header[_PREFIX].split(b"\0", 1)[0] + b"/" + name
    return name


def _size(header: bytes) -> int | None:
    """None where it isn't written in octal digits."""
    try:
        return int(header[_SIZE].split(b"\0", 1)[0] or b"0", 8)
    except ValueError:
        return None


def _pax_records(data: bytes) -> dict[bytes, bytes] | None:
    """Keywords and values of a pax header; None where they change more than name and size."""
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


def _any_file(piece: Piece, position: int) -> Member | None:
    file = piece if isinstance(piece, mmap.mmap) else io.BytesIO(piece)
    file.seek(position)
    with tarfile.open(fileobj=cast(Any, file), mode="r:", **cast(Any, _ENCODING)) as tar:
        while (member := tar.next()) is not None and not member.isreg():
            pass
        if member is None:
            return None
        name = member.name.encode(**_ENCODING)
        is_plain = not member.issparse() and "size" not in member.pax_headers
        end = cast(Any, tar).offset
        return Member(name, member.offset, member.offset_data, member.size, end, is_plain)
