"""What a command's exit code says."""

from __future__ import annotations

from typing import Final

DONE: Final = 0
FAILED: Final = 1
USER_ERROR: Final = 2
INTERRUPTED: Final = 130

MEANINGS = {
    DONE: "done",
    FAILED: "finished, but some shards failed, or some checks did; they are listed",
    USER_ERROR: "a mistake to mend: a line says what to do",
    INTERRUPTED: "stopped by Ctrl-C or SIGTERM; the last line says whether the same command goes "
    "on or begins anew",
}
