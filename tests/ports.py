"""Ports for servers that tests start."""

from __future__ import annotations

import socket
from contextlib import ExitStack


def free_ports(count: int) -> list[int]:
    """Ports that are free, with those 10000 above them, where SeaweedFS speaks gRPC."""
    ports: list[int] = []
    with ExitStack() as bound:
        while len(ports) < count:
            first, second = (bound.enter_context(socket.socket()) for _ in range(2))
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 10000))
            except (OSError, OverflowError):
                continue
            ports.append(port)
    return ports
