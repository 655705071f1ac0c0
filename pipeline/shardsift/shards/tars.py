"""The files of a tar, or of a piece of one, front to back; and headers of new and changed files.

tarfile reads any header there is, in 30 to 60 µs. The headers that nearly all files of a WebDataset
have are read here in a few, and everything else is left to it.
"""

from __future__ import annotations

import gzip
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from io import BufferedReader, BytesIO
from typing import Any, Final, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from shardsift.records import PassedOver

_MAX_HEADER_BYTES = 32 << 10
"""For an extended header, tarfile may take time and memory by the square of its length."""

BLOCK: Final = tarfile.BLOCKSIZE
_GZIP = b"\x1f\x8b\x08"
_NAMES: Final = {"encoding": "utf-8", "errors": "surrogateescape"}
_SIZE, _SUM = slice(124, 136), slice(148, 156)
"""Places of a header's size and checksum."""

_CUT = "unexpected end of data"
_SHOWN = 24
"""First bytes of a file that isn't a tar, for the message."""

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
_BLANKS = sum(b" " * 8)
"""Sum of the checksum's own bytes, which count as spaces."""

_TIME = re.compile(rb"(\d+) [acm]time=[\d.]+\n")
"""A record of an extended header; webdataset's writer puts one before each file."""

SizeT = TypeVar("SizeT", int, NDArray[np.int64])


class Member(NamedTuple):
    """A regular file of a tar: its headers, its content, and the zeros that fill its last block.

    `begin`, `data` and `end` are positions in the tar, after decompression.

    Attributes:
        raw_name: as in the tar.
        headers: all headers of the file, concatenated.
        is_plain: true if its size may be changed: it isn't sparse, and no pax header has its size.
        is_sparse: true if it may have far more bytes than the tar.
        offset: begin of its content in the tar's file; None if it isn't there in one piece.
        read: returns its content, until the next member is requested. Raises TarError if it ends
            early, and errors of reading.
        read_blocks: returns the bytes of the tar from `data` to `end`, in the same way.
    """

    raw_name: bytes
    headers: bytes
    begin: int
    data: int
    size: int
    end: int
    is_plain: bool
    is_sparse: bool
    offset: int | None
    read: Callable[[], bytes]
    read_blocks: Callable[[], bytes]

    @property
    def name(self) -> str:
        """The name; bytes that aren't UTF-8 become readable and stay apart."""
        return self.raw_name.decode("utf-8", "backslashreplace")


def read_members(file: BufferedReader, passed_over: Counter[str]) -> Iterator[Member]:
    """Yield the regular files of a tar, which may be gzip'd, and count its hard links.

    Raises:
        TarError, EOFError, zlib.error, OSError, ValueError or what tarfile raises besides: if it
            isn't a tar, is damaged, or ends early.
    """
    content = unpacked(file)
    begin = bytes(content.peek(_SHOWN)[:_SHOWN])
    reader = _ForwardReader(content, begin=begin, is_gzipped=content is not file)
    yield from _members(reader, passed_over)
    end = reader.tell() - len(reader.last_read)
    if len(reader.last_read) < BLOCK:
        raise EOFError(f"truncated: ends at byte {end} without an end-of-archive marker")
    if reader.last_read.strip(b"\0"):
        raise tarfile.ReadError(f"damaged header at byte {end}")
    rest = reader.take(BLOCK)
    if len(rest) < BLOCK:
        raise EOFError("truncated: half of the end-of-archive marker is missing")
    while rest:
        if rest.strip(b"\0"):
            raise tarfile.ReadError(
                f"has data after its end-of-archive marker at byte {end}; if tars were joined "
                "with cat, split them or use `tar --concatenate`"
            )
        rest = reader.take(_MAX_HEADER_BYTES)


def members_in(piece: BytesIO, begin: int, stop: int) -> Iterator[Member]:
    """Yield the regular files of a piece of a tar whose headers begin before a place.

    The content of the last one may be beyond the end of the piece. Raises TarError for an invalid
    header.
    """
    piece.seek(begin)
    return _members(_ForwardReader(piece, at=begin), Counter(), stop)


def _members(
    reader: _ForwardReader, passed_over: Counter[str], stop: int | None = None
) -> Iterator[Member]:
    others = _OtherHeaders(reader)
    end = reader.tell()
    while stop is None or end < stop:
        reader.go_to_header(end)
        member: Member | None
        if not others.apply_to_all and (member := _read_plain_header(reader)):
            end = member.end
        elif info := others.read(end):
            member, end = others.member(info, end), others.end
            passed_over[PassedOver.HARD_LINKS] += info.islnk()
        else:
            return
        if member:
            yield member


def unpacked(file: BufferedReader) -> BufferedReader | gzip.GzipFile:
    """Return the decompressed tar if it is compressed by gzip, else the tar itself."""
    begin = file.peek(BLOCK)
    # The first name in a tar may begin with these bytes, too.
    is_gzipped = begin.startswith(_GZIP) and begin[257:262] != b"ustar"
    return gzip.GzipFile(fileobj=file) if is_gzipped else file


class _ForwardReader:
    """A file for `tarfile` that is only read forward.

    Keeps the last block, which shows how the archive ended: `tarfile` silently stops at a
    truncation or a damaged header as at the end-of-archive marker. Also keeps the bytes of the
    current headers.
    """

    def __init__(
        self,
        file: BufferedReader | gzip.GzipFile | BytesIO,
        at: int = 0,
        *,
        begin: bytes = b"",
        is_gzipped: bool = False,
    ) -> None:
        self._file = file
        self.begin = begin
        self.is_gzipped = is_gzipped
        self._position = at
        self._unread = b""
        self.last_read = b""
        self.headers = b""
        self.limit = _MAX_HEADER_BYTES

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> None:
        if self._unread:
            self.take(min(len(self._unread), position - self._position))
        if position > self._position and self._file.seekable():
            self._file.seek(position)
            self._position = position
        while self._position < position:
            if not self.take(min(position - self._position, 1 << 20)):
                raise EOFError(f"ends at byte {self._position}, in the middle of a file")
        if position < self._position:
            raise ValueError("a tar header points backwards")

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > self.limit:
            raise ValueError(f"a tar header asks for {size} bytes")
        self.last_read = self.take(size)
        self.headers += self.last_read
        return self.last_read

    def unread(self, data: bytes) -> None:
        """Put bytes back, to be read again."""
        self._unread = data + self._unread
        self._position -= len(data)
        self.headers = self.headers[: -len(data)]

    def read_content(self, size: int) -> bytes:
        """Read the bytes of a file. Raises ReadError, as tarfile does, if there are fewer."""
        data = self.take(size)
        if len(data) < size:
            raise tarfile.ReadError(_CUT)
        return data

    def go_to_header(self, position: int) -> None:
        """Skip the rest of a file, as tarfile does, which then reads the byte before."""
        if position != self._position:
            self.seek(position - 1)
            if not self.take(1):
                raise tarfile.ReadError(_CUT)
        self.headers = b""

    def take(self, size: int) -> bytes:
        """Read as many bytes as there are, up to a size."""
        data, self._unread = self._unread[:size], self._unread[size:]
        if len(data) < size:
            data += self._file.read(size - len(data))
        self._position += len(data)
        return data


def _read_plain_header(reader: _ForwardReader) -> Member | None:
    """Read a header of a regular file, with nothing odd about it; else leave all to be read."""
    block = reader.read(BLOCK)
    blocks = block
    header = _plain(block)
    if header and header["kind"] == b"x":
        size = int(header["size"], 8)
        if size <= BLOCK:
            times = reader.read(BLOCK)
            block = reader.read(BLOCK)
            blocks += times + block
            header = _plain(block) if _are_times(times[:size]) else None
    if not header or header["kind"] == b"x":
        reader.unread(blocks)
        return None
    size = int(header["size"], 8)
    data = reader.tell()
    end = data + padded(size)
    return Member(
        raw_name=header["name"].partition(b"\0")[0],
        headers=blocks,
        begin=data - len(blocks),
        data=data,
        size=size,
        end=end,
        is_plain=True,
        is_sparse=False,
        offset=None if reader.is_gzipped else data,
        read=partial(reader.read_content, size),
        read_blocks=partial(reader.read_content, end - data),
    )


def _plain(block: bytes) -> re.Match[bytes] | None:
    """Match a plain header whose checksum is right."""
    header = _PLAIN_HEADER.fullmatch(block)
    if not header:
        return None
    checksum = sum(block) - sum(block[_SUM]) + _BLANKS
    return header if checksum == int(header["checksum"], 8) else None


def _are_times(records: bytes) -> bool:
    """Return whether an extended header holds nothing but times."""
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
        """True after a header that changes those of all later files."""
        return self._tar is not None and bool(self._tar.pax_headers)

    @property
    def end(self) -> int:
        """Offset of the next header, in bytes."""
        return self._tar.offset

    def read(self, begin: int) -> tarfile.TarInfo | None:
        """Read a header, and those that belong to it; None at the end, and if it is damaged."""
        if self._tar is None:
            self._tar = _open_tar(self._reader)  # opening reads a header
            info, self._tar.firstmember = self._tar.firstmember, None
        else:
            self._tar.offset = begin
            info = self._tar.next()
        self._tar.members.clear()  # else tarfile keeps all headers in memory
        return info

    def member(self, info: tarfile.TarInfo, begin: int) -> Member | None:
        """Return the member, if it is a regular file."""
        if not info.isreg():
            return None
        in_one_piece = not (info.issparse() or self._reader.is_gzipped)
        return Member(
            raw_name=info.name.encode(**_NAMES),
            headers=self._reader.headers,
            begin=begin,
            data=info.offset_data,
            size=info.size,
            end=self.end,
            is_plain=not info.issparse() and "size" not in info.pax_headers,
            is_sparse=info.issparse(),
            offset=info.offset_data if in_one_piece else None,
            read=partial(self._read_content, info),
            read_blocks=partial(self._reader.read_content, self.end - info.offset_data),
        )

    def _read_content(self, info: tarfile.TarInfo) -> bytes:
        self._reader.limit = max(info.size, _MAX_HEADER_BYTES)
        data = self._tar.extractfile(info).read(info.size)
        self._reader.limit = _MAX_HEADER_BYTES
        if len(data) < info.size:
            raise tarfile.ReadError(_CUT)
        return data


def _open_tar(reader: _ForwardReader) -> tarfile.TarFile:
    is_begin = reader.tell() == 0
    try:
        return tarfile.open(fileobj=cast(Any, reader), mode="r:", **cast(Any, _NAMES))
    except tarfile.ReadError as error:
        if not is_begin:
            raise
        # tarfile's message is the same for a web page and an empty file.
        shown = f"begins with {reader.begin!r}" if reader.begin else "is empty"
        raise tarfile.ReadError(f"{shown} ({error})") from error


# --- headers of new and changed files ------------------------------------------------------------


def padded(size: SizeT) -> SizeT:
    """Round up to the size of whole blocks."""
    return -(-size // BLOCK) * BLOCK


def resized(headers: bytes, size: int) -> bytes:
    """Change the headers of a plain file whose content has another size now."""
    last = headers[-BLOCK:]
    digits = b"%011o\0" % size
    checksum = int(last[_SUM].strip(b"\0 "), 8) - sum(last[_SIZE]) + sum(digits)
    between = last[_SIZE.stop : _SUM.start]
    changed = last[: _SIZE.start] + digits + between + b"%06o\0 " % checksum + last[_SUM.stop :]
    return headers[:-BLOCK] + changed


def new_headers(name: bytes, size: int) -> bytes:
    """Make the headers of a new file; equal arguments give equal bytes."""
    member = tarfile.TarInfo(name.decode(**_NAMES))
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT, **_NAMES)


def end_of_archive(size: int) -> bytes:
    """Return the end marker of an archive of this size, padded to a whole record."""
    marker = 2 * BLOCK
    return bytes(marker + -(size + marker) % tarfile.RECORDSIZE)
