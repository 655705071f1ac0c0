"""Where feature maps lie on a CPU."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of `mallopt`, as in glibc's `malloc.h`."""

_MEBIBYTE = 2**20


def keep_heap() -> None:
    """Let malloc keep the memory of a batch for the next one, in the whole process.

    glibc hands blocks of over 32 MB back at once, as the largest feature maps are, so that every
    batch is paid for in page faults: a tenth of RN50's time. Elsewhere nothing is done.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_M_MMAP_THRESHOLD, 128 * _MEBIBYTE)
        mallopt(_M_TRIM_THRESHOLD, 512 * _MEBIBYTE)
