"""Environment variables that Ray reads when it is imported; nothing here imports it."""

from __future__ import annotations

import os
import secrets
import sys


def is_joined(address: str | None) -> bool:
    """Return whether a run joins a cluster rather than start one of its own."""
    return address != "local" and bool(address or os.environ.get("RAY_ADDRESS"))


def prepare_ray(address: str | None = None) -> None:
    """Set Ray's environment for this process and its workers; before Ray is imported.

    A cluster of our own gets a random password, and listens only on 127.0.0.1. Variables that the
    user has set are not changed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # The coordinator logs failures itself, once, in one line.
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
    ours = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    if "ray" in sys.modules:
        return  # too late: Ray has read its environment
    if not is_joined(address):
        # Ray's switch for Windows and macOS: the node's address is that of the loopback then.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        if not os.environ.keys() & ours.keys():
            os.environ.update(ours)
