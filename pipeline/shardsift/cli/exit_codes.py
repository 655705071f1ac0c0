"""What a command's exit code says."""

from __future__ import annotations

from typing import Final

DONE: Final = 0
FAILED: Final = 1
"""Finished, but some shards failed or some checks did."""
USER_ERROR: Final = 2
INTERRUPTED: Final = 130
"""Stopped by Ctrl-C or SIGTERM; the same command goes on."""
