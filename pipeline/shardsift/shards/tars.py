"""The files of a tar, front to back, once, and how the tar ends.

tarfile reads any header there is, in 30 to 60 µs. The headers that nearly all files of a WebDataset
have are read here in a few, and everything else is left to it.
"""

from __future__ import annotations

import gzip
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from io import BufferedReader
from typing import Any, cast

from shardsift.records import PassedOver

_MAX_HEADER_BYTES = 32 << 10
"""For an extended header, tarfile may take time and memory by the square of its length."""

_BLOCK = tarfile.BLOCKSIZE
_GZIP = b"\x1f\x8b\x08"
_CUT = "unexpected end of data"
_SHOWN = 24
"""Bytes of a file that is no tar, for people to see what it is."""

_PLAIN_HEADER = re.compile(
    rb"(?P<name>[^\0].{99})"
    rb"(?:[0-7]{7}[\0 ]){3}"  # mode and owners
    rb"(?P<size>[0-7]{11})[\0 ]"
    rb"[0-7]{11}[\0 ]"  # time
    rb"(?P<checksum>[0-7]{6})\0 "
    rb"(?P<kind>[0x])"
    rb"\0{100}"  # no link
    rb"ustar(?:\x0000|  \0)"
    rb".{64}"  # names of owners
    rb"(?:\0{8}|[0-7]{7}[\0 ]){2}"  # no device
    rb"\0{167}",  # no more of the name
    re.DOTALL,
)
_CHECKSUM = slice(148, 156)
_BLANKS = sum(b" " * 8)
"""What the checksum's own bytes count."""

_TIME = re.compile(rb"(\d+) [acm]time=[\d.]+\n")
"""A record of an extended header; webdataset's writer puts one before each file."""


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file of a tar.

    Attributes:
        offset: where its bytes begin; None if they don't lie in one piece.
        is_sparse: it may have far more bytes than the tar.
        read: returns its bytes, as long as no other member was drawn. Raises TarError if they end
            early, or what reading raises.
    """

    name: str
    size: int
    offset: int | None
    is_sparse: bool
    read: Callable[[], bytes]


def read_members(file: BufferedReader, passed_over: Counter[str]) -> Iterator[Member]:
    """Yield the regular files of a tar, which may be gzip'd, and count its hard links.

    Raises:
        TarError, EOFError, zlib.error, OSError, ValueError or what tarfile raises besides: if it
            isn't a tar, is damaged, or ends early.
    """
    reader = _ForwardReader(file)
    others = _OtherHeaders(reader)
    while True:
        member: Member | None
        if not others.apply_to_all and (member := _read_plain_header(reader)):
            end = reader.tell() + member.size + -member.size % _BLOCK
        elif info := others.read():
            member, end = others.member(info), others.end
            passed_over[PassedOver.HARD_LINKS] += info.islnk()
        else:
            break
        if member:
            yield member
        reader.go_to_header(end)
    _check_end(reader)


def unpacked(file: BufferedReader) -> BufferedReader | gzip.GzipFile:
    """Return what a tar holds if it is gzip'd, else the tar itself."""
    begin = file.peek(_BLOCK)
    # The first name of a tar may begin so, too.
    is_gzipped = begin.startswith(_GZIP) and begin[257:262] != b"ustar"
    return gzip.GzipFile(fileobj=file) if is_gzipped else file


class _ForwardReader:
    """What `tarfile` needs of a file, unpacked if it is gzip'd, without ever going back.

    Remembers the last block that was read, which tells how the archive ended: `tarfile` stops in
    silence at a cut or a damaged header just as at the end-of-archive marker.
    """

    def __init__(self, file: BufferedReader) -> None:
        self._file = unpacked(file)
        self.is_gzipped = self._file is not file
        self.begin = bytes(self._file.peek(_SHOWN)[:_SHOWN])
        self._position = 0
        self._unread = b""
        self.last_read = b""
        self.limit = _MAX_HEADER_BYTES

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> None:
        if self._unread:
            self._read(min(len(self._unread), position - self._position))
        if position > self._position and self._file.seekable():
            self._file.seek(position)
            self._position = position
        while self._position < position:
            if not self._read(min(position - self._position, 1 << 20)):
                raise EOFError(f"ends at byte {self._position}, in the middle of a file")
        if position < self._position:
            raise ValueError("a tar header points backwards")

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > self.limit:
            raise ValueError(f"a tar header asks for {size} bytes")
        self.last_read = self._read(size)
        return self.last_read

    def unread(self, data: bytes) -> None:
        """Let what was read last be read again."""
        self._unread = data + self._unread
        self._position -= len(data)

    def read_content(self, size: int) -> bytes:
        """Read the bytes of a file. Raises ReadError, as tarfile does, if there are fewer."""
        data = self._read(size)
        if len(data) < size:
            raise tarfile.ReadError(_CUT)
        return data

    def go_to_header(self, position: int) -> None:
        """Skip what is left of a file, as tarfile does, which then looks at the byte before."""
        if position != self._position:
            self.seek(position - 1)
            if not self.read(1):
                raise tarfile.ReadError(_CUT)

    def _read(self, size: int) -> bytes:
        data, self._unread = self._unread[:size], self._unread[size:]
        if len(data) < size:
            data += self._file.read(size - len(data))
        self._position += len(data)
        return data


def _read_plain_header(reader: _ForwardReader) -> Member | None:
    """Read a header of a regular file, with nothing odd about it; else leave all to be read."""
    block = reader.read(_BLOCK)
    blocks = block
    header = _plain(block)
    if header and header["kind"] == b"x":
        size = int(header["size"], 8)
        if size <= _BLOCK:
            times = reader.read(_BLOCK)
            block = reader.read(_BLOCK)
            blocks += times + block
            header = _plain(block) if _are_times(times[:size]) else None
    if not header or header["kind"] == b"x":
        reader.unread(blocks)
        return None
    name = header["name"].partition(b"\0")[0].decode("utf-8", "backslashreplace")
    size = int(header["size"], 8)
    offset = None if reader.is_gzipped else reader.tell()
    return Member(name, size, offset, False, partial(reader.read_content, size))


def _plain(block: bytes) -> re.Match[bytes] | None:
    """Match a plain header whose checksum is right."""
    header = _PLAIN_HEADER.fullmatch(block)
    if not header:
        return None
    checksum = sum(block) - sum(block[_CHECKSUM]) + _BLANKS
    return header if checksum == int(header["checksum"], 8) else None


def _are_times(records: bytes) -> bool:
    """Tell whether an extended header holds nothing but times."""
    at = 0
    while record := _TIME.match(records, at):
        if int(record[1]) != len(record[0]):
            return False
        at = record.end()
    return 0 < at == len(records)


class _OtherHeaders:
    """Reads whatever header comes next by `tarfile`."""

    def __init__(self, reader: _ForwardReader) -> None:
        self._reader = reader
        self._tar: Any = None

    @property
    def apply_to_all(self) -> bool:
        """Whether there was a header that changes those of all files behind it."""
        return self._tar is not None and bool(self._tar.pax_headers)

    @property
    def end(self) -> int:
        """Where the next header begins."""
        return self._tar.offset

    def read(self) -> tarfile.TarInfo | None:
        """Read a header, and those that belong to it; None at the end, and if it is damaged."""
        if self._tar is None:
            self._tar = _open_tar(self._reader)  # which reads one
            info, self._tar.firstmember = self._tar.firstmember, None
        else:
            self._tar.offset = self._reader.tell()
            info = self._tar.next()
        self._tar.members.clear()  # or the archive's whole index stays in memory
        return info

    def member(self, info: tarfile.TarInfo) -> Member | None:
        """Return what was read, if it is a regular file."""
        if not info.isreg():
            return None
        in_one_piece = not (info.issparse() or self._reader.is_gzipped)
        return Member(
            info.name,
            info.size,
            info.offset_data if in_one_piece else None,
            info.issparse(),
            partial(self._read_content, info),
        )

    def _read_content(self, info: tarfile.TarInfo) -> bytes:
        self._reader.limit = max(info.size, _MAX_HEADER_BYTES)
        data = self._tar.extractfile(info).read(info.size)
        self._reader.limit = _MAX_HEADER_BYTES
        if len(data) < info.size:
            raise tarfile.ReadError(_CUT)
        return data


def _open_tar(reader: _ForwardReader) -> tarfile.TarFile:
    # Names that aren't UTF-8 become readable and stay apart; Parquet could not hold their bytes.
    names: Any = {"encoding": "utf-8", "errors": "backslashreplace"}
    is_begin = reader.tell() == 0
    try:
        return tarfile.open(fileobj=cast(Any, reader), mode="r:", **names)
    except tarfile.ReadError as error:
        if not is_begin:
            raise
        # Its words don't tell a web page from an empty file.
        shown = f"begins with {reader.begin!r}" if reader.begin else "is empty"
        raise tarfile.ReadError(f"{shown} ({error})") from error


def _check_end(reader: _ForwardReader) -> None:
    """Check that two blocks of zeros end the archive, and that only zeros follow."""
    end = reader.tell() - len(reader.last_read)
    if len(reader.last_read) < _BLOCK:
        raise EOFError(f"cut short: ends at byte {end} without an end-of-archive marker")
    if reader.last_read.strip(b"\0"):
        raise tarfile.ReadError(f"damaged header at byte {end}")
    rest = reader.read(_BLOCK)
    if len(rest) < _BLOCK:
        raise EOFError("cut short: half of the end-of-archive marker is missing")
    while rest:
        if rest.strip(b"\0"):
            raise tarfile.ReadError(
                f"goes on behind its end-of-archive marker at byte {end}; "
                "if tars were joined with cat, split them or use `tar --concatenate`"
            )
        rest = reader.read(_MAX_HEADER_BYTES)
