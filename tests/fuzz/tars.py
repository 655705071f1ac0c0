"""Tars as no sane program writes them, made header by header."""

from __future__ import annotations

import struct
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field

BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK)

FIELDS = {
    "name": (0, 100),
    "mode": (100, 8),
    "size": (124, 12),
    "mtime": (136, 12),
    "type": (156, 1),
    "linkname": (157, 100),
    "magic": (257, 8),
    "device": (329, 16),
    "prefix": (345, 155),
    "sparse": (386, 126),
}
"""Where the fields of a header lie, and their length."""


@dataclass(frozen=True)
class Member:
    """One entry of a tar. `pax` are records of its extended header."""

    name: str
    content: bytes = b""
    kind: bytes = tarfile.REGTYPE
    is_pax: bool = False
    pax: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Edit:
    """Bytes to write into a field of the header that comes nth."""

    header: int
    field: str
    value: bytes


def build(members: Sequence[Member], edits: Sequence[Edit] = ()) -> bytes:
    """A whole tar; the checksums of edited headers are right again."""
    parts: list[bytes] = []
    for number, member in enumerate(members):
        parts.append(_entry(member, [edit for edit in edits if edit.header == number]))
    return b"".join(parts) + END


def sparse(name: str, size: int, content: bytes = b"x") -> bytes:
    """An entry of an old GNU sparse file of `size` bytes, with holes around the content."""
    info = tarfile.TarInfo(name)
    info.type, info.size = tarfile.GNUTYPE_SPARSE, len(content)
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"%011o\0%011o\0" % (0, len(content))
    header[483:495] = b"%011o\0" % size
    return _checked(header) + _padded(content)


def unending_sparse(name: str) -> bytes:
    """An entry of a sparse file that promises another block of its map, at the end of the tar."""
    header = bytearray(sparse(name, 10)[:BLOCK])
    header[482] = 1
    return _checked(header)


def base_256(number: int) -> bytes:
    """A size beyond eight octal gigabytes, or below zero, as GNU tar writes it."""
    return struct.pack(">B", 0x80 if number >= 0 else 0xFF) + number.to_bytes(
        11, "big", signed=True
    )


def _entry(member: Member, edits: Sequence[Edit]) -> bytes:
    info = tarfile.TarInfo(member.name)
    info.type, info.pax_headers = member.kind, member.pax
    # To tarfile, an old-style file is a folder if its name ends so, and folders have no content.
    is_folder = member.kind == tarfile.AREGTYPE and member.name.endswith("/")
    content = member.content if info.isreg() and not is_folder else b""
    info.size = len(content)
    info.linkname = "elsewhere.jpg" if info.islnk() or info.issym() else ""
    form = tarfile.PAX_FORMAT if member.pax or member.is_pax else tarfile.GNU_FORMAT
    head = info.tobuf(form, "utf-8", "surrogateescape")
    header = bytearray(head[-BLOCK:])
    for edit in edits:
        begin, length = FIELDS[edit.field]
        header[begin : begin + length] = edit.value[:length].ljust(length, b"\0")
    return head[:-BLOCK] + _checked(header) + _padded(content)


def _checked(header: bytearray) -> bytes:
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)
