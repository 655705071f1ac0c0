"""The chunks of a PNG: which of them decide about its pixels, and its EXIF block.

Chunks and their order are those of the W3C's PNG specification (third edition).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import NamedTuple

from shardsift.errors import ErrorCode, ImageError

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_ANCILLARY = 0x20
"""The bit of a chunk's first letter that makes it lower case: decoders may skip such a chunk."""

_KNOWN = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_RAW_PROFILES = (b"Raw profile type exif\0", b"Raw profile type APP1\0")
"""Keywords of text chunks in which ImageMagick kept EXIF before there was a chunk for it."""

_MOST_TEXT = 1 << 20
_MOST_CHUNKS = 1 << 18
"""More would take seconds; of 2 kB each they make a file of 512 MB."""


class _Chunk(NamedTuple):
    kind: bytes
    content: memoryview
    whole: memoryview
    begin: int
    end: int

    @property
    def is_sound(self) -> bool:
        """Return whether the checksum is right."""
        checksum = int.from_bytes(self.whole[-4:], "big")
        return zlib.crc32(self.whole[4:-4]) == checksum


def split(data: bytes) -> tuple[bytes, bytes]:
    """Split a PNG into a file with only the chunks that decide about pixels, and its EXIF block.

    Of the ancillary chunks, only a valid transparency chunk is kept.
    """
    kept = [(0, len(SIGNATURE))]
    header, palette, kinds = b"", 0, set[bytes]()
    blocks: dict[bytes, bytes] = {}
    for chunk in _chunks(data):
        if chunk.kind == b"IHDR":
            header = bytes(chunk.content)
        elif chunk.kind == b"PLTE":
            palette = len(chunk.content) // 3
        is_aside = chunk.kind[0] & _ANCILLARY
        if chunk.kind == b"tRNS" and not kinds & {b"tRNS", b"IDAT"}:
            is_aside = not (chunk.is_sound and _fits(len(chunk.content), header, palette))
        if not is_aside:
            begin = kept.pop()[0] if kept[-1][1] == chunk.begin else chunk.begin
            kept.append((begin, chunk.end))
            kinds.add(chunk.kind)
        elif block := _exif(chunk):
            blocks.setdefault(chunk.kind, block)
    whole = b"".join(data[begin:end] for begin, end in kept)
    return whole, blocks.get(b"eXIf") or next(iter(blocks.values()), b"")


def problem_of(data: bytes) -> str | None:
    """Name a critical chunk that no specification knows, as Apple's `CgBI`; None if it has none."""
    kinds = (chunk.kind for chunk in _chunks(data))
    unknown = (kind for kind in kinds if kind.isalpha() and not kind[0] & _ANCILLARY)
    return next((f"with a chunk {k.decode()}" for k in unknown if k not in _KNOWN), None)


def ends_early(data: bytes) -> bool:
    """Return whether a PNG lacks its last chunk."""
    return b"IEND" not in data[-64:] and all(chunk.kind != b"IEND" for chunk in _chunks(data))


def parse_raw_profile(text: str) -> bytes:
    """Parse an EXIF block as ImageMagick writes it: three lines, and then hexadecimal digits."""
    try:
        return bytes.fromhex("".join(text.split("\n")[3:]))
    except ValueError:
        return b""


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """Yield chunks up to the end of the picture; the last one may be cut.

    Raises ImageError if there are too many.
    """
    view = memoryview(data)
    at = len(SIGNATURE)
    found = 0
    while at + 8 <= len(data):
        kind = data[at + 4 : at + 8]
        content = at + 8
        end = content + int.from_bytes(data[at : at + 4], "big")
        yield _Chunk(kind, view[content:end], view[at : end + 4], at, end + 4)
        if (found := found + 1) > _MOST_CHUNKS:
            raise ImageError(ErrorCode.DECODE_ERROR, f"over {_MOST_CHUNKS:,} chunks")
        if kind == b"IEND":
            return
        at = end + 4


def _fits(size: int, header: bytes, palette: int) -> bool:
    """Return whether transparency has the size that the kind of pixels asks for."""
    kind = header[9] if len(header) > 9 else -1
    return size == {0: 2, 2: 6}.get(kind) or (kind == 3 and 1 <= size <= palette)


def _exif(chunk: _Chunk) -> bytes:
    """Return the EXIF block in a chunk; nothing if there is none, or its checksum is wrong."""
    if chunk.kind not in (b"eXIf", b"tEXt", b"zTXt") or not chunk.is_sound:
        return b""
    content = bytes(chunk.content)
    if chunk.kind == b"eXIf":
        return content
    if not content.startswith(_RAW_PROFILES):
        return b""
    text = content.partition(b"\0")[2]
    if chunk.kind == b"zTXt":
        try:
            text = zlib.decompressobj().decompress(text[1:], _MOST_TEXT)
        except zlib.error:
            return b""
    return parse_raw_profile(text.decode("latin-1"))
