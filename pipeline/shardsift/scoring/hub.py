"""The model hub, as far as it can be reached: its client tries for most of a minute otherwise."""

from __future__ import annotations

import logging
import socket
from collections.abc import Generator
from contextlib import contextmanager
from threading import Thread
from urllib.parse import urlsplit
from urllib.request import getproxies

from huggingface_hub import constants

_PROBE_SECONDS = 3.0


@contextmanager
def cache_alone_if_unreachable() -> Generator[str | None]:
    """Let the hub's client take what it has in its cache, and no more, if the hub doesn't answer.

    Yields why nothing can be downloaded; None if it can.
    """
    root = logging.getLogger()
    root.addFilter(_is_no_failed_download)
    try:
        if constants.HF_HUB_OFFLINE:
            yield "HF_HUB_OFFLINE is set"
        elif (host := unreachable()) is None:
            yield None
        else:
            with cache_alone():
                yield f"{host} can't be reached"
    finally:
        root.removeFilter(_is_no_failed_download)


def _is_no_failed_download(record: logging.LogRecord) -> bool:
    """Leave out what open_clip says of it, for whoever asked for the model says more."""
    return not str(record.msg).startswith("Failed to download")


@contextmanager
def cache_alone() -> Generator[None]:
    """Let the hub's client take what it has in its cache, and no more."""
    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def unreachable() -> str | None:
    """Return the hub, or the proxy before it, if nobody answers there within seconds."""
    endpoint = urlsplit(constants.ENDPOINT)
    proxy = getproxies().get(endpoint.scheme)
    place = urlsplit(proxy) if proxy else endpoint
    host, port = place.hostname or "", place.port or (80 if place.scheme == "http" else 443)
    answered: list[bool] = []

    def knock() -> None:  # in a thread: to look up a name may take as long as it likes
        try:
            socket.create_connection((host, port), _PROBE_SECONDS).close()
        except OSError:
            return
        answered.append(True)

    thread = Thread(target=knock, daemon=True)
    thread.start()
    thread.join(_PROBE_SECONDS)
    return None if answered else host
