"""The directory of a TIFF, read for what Pillow doesn't tell or tells wrongly.

EXIF blocks, wherever they are kept, are TIFFs, too. Tag numbers are those of TIFF 6.0 (Adobe,
1992), the layout of larger files that of BigTIFF.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

PHOTOMETRIC, WHITE_IS_ZERO = 262, 0

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _FILL_ORDER = 256, 257, 258, 259, 266
_ORIENTATION, _PLANES, _COLOUR_MAP, _INK_SET, _EXTRA, _SAMPLE_FORMAT = 274, 284, 320, 332, 338, 339
_SUBSAMPLING = 530
_PIECES = ((273, 279), (324, 325))
"""Tags with the offsets and the sizes of strips, and of tiles."""

_PIECE_OFFSETS = tuple(offsets for offsets, _ in _PIECES)

_DECIDES = frozenset(
    {_WIDTH, _HEIGHT, _BITS, _COMPRESSION, PHOTOMETRIC, _FILL_ORDER, _PLANES, _COLOUR_MAP}
    | {_INK_SET, _EXTRA, _SAMPLE_FORMAT, *(tag for pair in _PIECES for tag in pair)}
    | {277, 278, 292, 293, 317, 322, 323}  # samples, rows of a strip, fax options, predictor, tiles
    | {347, *range(512, 522), *range(529, 533)}  # of JPEG and of YCbCr
)
"""Tags without which pixels can't be decoded."""

_UNSIGNED = {1: 1, 3: 2, 4: 4, 16: 8}
"""Kinds of whole numbers, and their bytes."""

_RAW, _WEBP = 1, 50001
_PALETTE, _CMYK, _YCBCR = 3, 5, 6
_PLAIN = (1, 2, _PALETTE, _CMYK)
"""Photometric interpretations of which Pillow reads raw planes right; 1 is grey, 2 is RGB."""

_SUBFILE, _IS_NO_PAGE = 254, 1 | 4
"""The kind of a directory, and its bits for a smaller copy and a mask."""

_MOST_VALUES = 1 << 20
_MOST_ENTRIES = 1 << 16
"""More of them are damage, and would fill the memory."""


class _Entry(NamedTuple):
    tag: int
    kind: int
    number: int
    at: int


class _Directory(NamedTuple):
    """The first directory of a file, as far as the file goes."""

    order: Literal["little", "big"]
    at: int
    counter: int
    entries: Sequence[_Entry]
    is_whole: bool
    is_big: bool
    following: int

    @property
    def size(self) -> int:
        """How many bytes an entry takes."""
        return 20 if self.is_big else 12


def orientation(block: bytes) -> int:
    """Read the orientation in an EXIF block or a TIFF, 1 to 8, whatever else is in it.

    1, which is upright, if it says nothing that makes sense.
    """
    block = block.removeprefix(b"Exif\0\0")
    values = _values(block, _read_directory(block), _ORIENTATION)
    return values[0] if values and 1 <= values[0] <= 8 else 1


def split(data: bytes) -> tuple[bytes, bytes]:
    """Leave out all tags that don't decide about the pixels of the first picture.

    What was there is returned as well: a TIFF is built as an EXIF block is.
    """
    found = _read_directory(data)
    if found is None or not found.is_whole:
        return data, data
    kept = [data[e.at : e.at + found.size] for e in found.entries if e.tag in _DECIDES]
    end_of_chain = bytes(8 if found.is_big else 4)
    directory = len(kept).to_bytes(found.counter, found.order) + b"".join(kept) + end_of_chain
    return b"".join([data[: found.at], directory, data[found.at + len(directory) :]]), data


def problem_of(data: bytes) -> str | None:
    """Tell why a TIFF's pixels would be read wrongly; None if they wouldn't."""
    found = _read_directory(data)
    if found is None:
        return None

    def first(tag: int, default: int) -> int:
        return next(iter(_values(data, found, tag)), default)

    bits, photometric = first(_BITS, 1), first(PHOTOMETRIC, -1)
    compression, extra = first(_COMPRESSION, _RAW), list(_values(data, found, _EXTRA))
    subsampling = list(_values(data, found, _SUBSAMPLING))
    has_narrow_palette = max(_values(data, found, _COLOUR_MAP), default=0) < 256
    is_plain = bits == 8 and extra in ([], [2]) and first(_FILL_ORDER, 1) == 1
    is_split = first(_PLANES, 1) == 2 and not (is_plain and photometric in _PLAIN)
    pieces = max((e.number for e in found.entries if e.tag in _PIECE_OFFSETS), default=0)
    problems = {
        f"of {pieces:,} strips or tiles": pieces > _MOST_VALUES,
        "without a photometric interpretation": photometric < 0,
        "of numbers that aren't unsigned integers": first(_SAMPLE_FORMAT, 1) != 1,
        f"of {bits} bits a channel": bits not in (1, 2, 4, 8, 16),
        "compressed as WebP": compression == _WEBP,
        "of raw planes that aren't plain": compression == _RAW and is_split,
        "of other inks than CMYK": photometric == _CMYK and first(_INK_SET, 1) != 1,
        "with a palette of 8 bits": photometric == _PALETTE and has_narrow_palette,
        "of raw, subsampled YCbCr": (photometric, compression) == (_YCBCR, _RAW)
        and subsampling != [1, 1],
    }
    return next((problem for problem, is_so in problems.items() if is_so), None)


def is_described(data: bytes) -> bool:
    """Tell whether a TIFF says how large its picture is and where it lies."""
    found = _read_directory(data)
    tags = {entry.tag for entry in found.entries} if found else set[int]()
    return {_WIDTH, _HEIGHT} <= tags and any(offsets in tags for offsets, _ in _PIECES)


def further_pages(data: bytes) -> int:
    """Count the pages behind the first, as far as they can be found; smaller copies are none."""
    pages = entries = 0
    seen = {0}
    directory = _read_directory(data)
    while directory and directory.following not in seen and entries < _MOST_ENTRIES:
        seen.add(directory.following)
        directory = _read_directory(data, directory.following)
        if directory and directory.is_whole:
            entries += len(directory.entries)
            pages += not next(iter(_values(data, directory, _SUBFILE)), 0) & _IS_NO_PAGE
    return pages


def ends_early(data: bytes) -> bool:
    """Tell whether a TIFF's directory, a strip or a tile lies beyond its end."""
    found = _read_directory(data)
    if found is None or not found.is_whole:
        return True
    pieces = (tuple(_values(data, found, tag) for tag in pair) for pair in _PIECES)
    return any(
        at + size > len(data)
        for offsets, sizes in pieces
        for at, size in zip(offsets, sizes, strict=False)
    )


def _read_directory(data: bytes, at: int | None = None) -> _Directory | None:
    """Read the first directory, or the one at a place; None if that isn't a TIFF."""
    if not data.startswith(SIGNATURES):
        return None
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    is_big = b"+" in data[2:4]
    pointer, counter = (slice(8, 16), 8) if is_big else (slice(4, 8), 2)
    layout = ("<" if order == "little" else ">") + ("HHQ8x" if is_big else "HHI4x")
    size = struct.calcsize(layout)

    def integer(place: slice) -> int:
        return int.from_bytes(data[place], order)

    at = integer(pointer) if at is None else at
    begin = at + counter
    count = integer(slice(at, begin))
    is_whole = at > 0 and begin + count * size + pointer.stop - pointer.start <= len(data)
    readable = min(count, _MOST_ENTRIES, max(0, len(data) - begin) // size)
    fields = struct.iter_unpack(layout, data[begin : begin + readable * size])
    entries = [
        _Entry(tag, kind, number, begin + place * size)
        for place, (tag, kind, number) in enumerate(fields)
    ]
    end = begin + count * size
    following = integer(slice(end, end + pointer.stop - pointer.start))
    return _Directory(order, at, counter, entries, is_whole, is_big, following)


def _values(data: bytes, found: _Directory | None, tag: int) -> Sequence[int]:
    """Return the whole numbers of a tag, as far as the file goes; none if it has no such."""
    entry = next((e for e in found.entries if e.tag == tag), None) if found else None
    if found is None or entry is None or entry.kind not in _UNSIGNED:
        return ()
    room = 8 if found.is_big else 4
    size, at = _UNSIGNED[entry.kind], entry.at + found.size - room
    if entry.number * size > room:
        at = int.from_bytes(data[at : at + room], found.order)
    end = at + min(entry.number, _MOST_VALUES) * size
    return list(_numbers(data[at:end], size, found.order))


def _numbers(data: bytes, size: int, order: Literal["little", "big"]) -> Iterator[int]:
    return (
        int.from_bytes(data[at : at + size], order) for at in range(0, len(data) - size + 1, size)
    )
