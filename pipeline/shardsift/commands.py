"""Commands that are shown: complete, and quoted, so that they can be run as they stand."""

from __future__ import annotations

import shlex


def command(verb: str, *words: str) -> str:
    """Spell a command of ours."""
    return shlex.join(["shardsift", verb, *words])


def beside(location: str, what: str) -> str:
    """Name a folder next to another: `corpus-kept` for `corpus`."""
    return f"{location.rstrip('/')}-{what}"
