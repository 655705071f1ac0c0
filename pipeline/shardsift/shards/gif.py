"""The blocks of a GIF (GIF89a, CompuServe, 1990)."""

from __future__ import annotations

from shardsift.errors import ErrorCode, ImageError

SIGNATURES = (b"GIF87a", b"GIF89a")

_EXTENSION, _GRAPHIC_CONTROL = 0x21, 0xF9
_SOUND_CONTROL = b"\x04"
"""Of a graphic control, which tells the transparent colour: its one block has four bytes."""

_MOST_EXTENSIONS = 1 << 16
"""More would take seconds."""


def split(data: bytes) -> tuple[bytes, bytes]:
    """Leave out comments, texts and applications before the first picture; there is no EXIF."""
    colours = data[10] if len(data) > 10 else 0
    begin = at = 13 + (3 * (2 << (colours & 7)) if colours & 0x80 else 0)
    kept: list[bytes] = []
    extensions = 0
    while at + 3 <= len(data) and data[at] == _EXTENSION:
        end = _end_of_blocks(data, at + 2)
        extensions += 1
        if extensions > _MOST_EXTENSIONS:
            problem = f"over {_MOST_EXTENSIONS:,} extensions before its picture"
            raise ImageError(ErrorCode.DECODE_ERROR, problem)
        if data[at + 1] == _GRAPHIC_CONTROL and data[at + 2 : at + 3] == _SOUND_CONTROL:
            kept.append(data[at:end])
        at = end
    return (data if at == begin else b"".join([data[:begin], *kept, data[at:]])), b""


def ends_early(data: bytes) -> bool:
    """Tell whether a GIF lacks its trailer."""
    return not data.rstrip(b"\0").endswith(b";")


def _end_of_blocks(data: bytes, at: int) -> int:
    """Find what follows blocks, each of which begins with its size; an empty one ends them."""
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1
