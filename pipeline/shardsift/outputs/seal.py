"""A checksum of a whole Parquet file, in front of its footer, where every reader passes over it.

A digest of the rows says that these are right, however a file was written. That no bit of this
file has changed, in statistics and indices that readers trust as well, only its bytes can tell.
"""

from __future__ import annotations

import hashlib
from typing import Final

_MARK: Final = b"shardsift-sha256"
_SUM_BYTES: Final = 32
_TAIL_BYTES: Final = 8
"""The length of the footer, and Parquet's own mark."""


def seal(data: bytes) -> bytes:
    """Put the checksum into a Parquet file."""
    body, footer = _split(data)
    return body + _MARK + hashlib.sha256(data).digest() + footer


def is_broken(data: bytes) -> bool:
    """Tell whether a file was sealed, and is another one now; a copy by others has no seal."""
    body, footer = _split(data)
    content = body[: -len(_MARK) - _SUM_BYTES]
    mark, checksum = body[len(content) : -_SUM_BYTES], body[-_SUM_BYTES:]
    alike = sum(one == other for one, other in zip(mark, _MARK, strict=False))
    if alike < len(_MARK) // 2:  # a mark with an error of its own is one all the same
        return False
    return mark != _MARK or hashlib.sha256(content + footer).digest() != checksum


def _split(data: bytes) -> tuple[bytes, bytes]:
    footer = int.from_bytes(data[-_TAIL_BYTES:-4], "little") + _TAIL_BYTES
    return data[:-footer], data[-footer:]
