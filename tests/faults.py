"""A proxy that disturbs what passes between a client and a store, as networks and stores do."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import cast
from urllib.parse import urlsplit

FOREVER = 1_000_000_000

_PIECE = 64 << 10
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "expect"}


@dataclass(frozen=True)
class Delay:
    """Answers late."""

    seconds: float


@dataclass(frozen=True)
class Refuse:
    """Answers 500 or 503 in S3's words, and passes nothing on."""

    status: int


@dataclass(frozen=True)
class Reset:
    """Breaks the connection after so many bytes of an answer's body, or of an upload's."""

    after: int


@dataclass(frozen=True)
class LoseAnswer:
    """Passes the request on, and breaks the connection before the first byte of its answer."""


@dataclass(frozen=True)
class CutShort:
    """Ends the connection in good order, before as many bytes came as were promised."""

    after: int


@dataclass(frozen=True)
class Shorten:
    """Promises and sends fewer bytes than were asked for."""

    to: int


@dataclass(frozen=True)
class Throttle:
    """Sends slowly."""

    bytes_per_second: int


@dataclass(frozen=True)
class Meanwhile:
    """Lets something happen before the request is passed on."""

    happens: Callable[[], object]


Fault = Delay | Refuse | Reset | LoseAnswer | CutShort | Shorten | Throttle | Meanwhile


@dataclass
class _Rule:
    fault: Fault
    method: str
    skip: int
    times: int


@dataclass
class FaultProxy:
    """Stands before the store at `upstream`, on a free port of this machine, while entered.

    `requests` lists what came, as e.g. `GET 0-8388607`; `injected` counts the faults.
    """

    upstream: str
    requests: list[str] = field(default_factory=list[str])
    injected: int = 0
    _rules: list[_Rule] = field(default_factory=list[_Rule])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def inject(self, fault: Fault, method: str, *, skip: int = 0, times: int = 1) -> None:
        """Disturb `times` requests of a method, after `skip` that pass; then the next rule's."""
        self._rules.append(_Rule(fault, method, skip, times))

    def fault_for(self, method: str, byte_range: str) -> Fault | None:
        """Fault of a request that has arrived."""
        with self._lock:
            self.requests.append(f"{method} {byte_range.removeprefix('bytes=')}".strip())
            for rule in self._rules:
                if rule.method != method or not rule.times:
                    continue
                if rule.skip:
                    rule.skip -= 1
                    return None
                rule.times -= 1
                self.injected += 1
                return rule.fault
            return None

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FaultProxy:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # clients keep idle connections
    proxy: FaultProxy


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _pass_on(self) -> None:
        proxy = cast(_Server, self.server).proxy
        fault = proxy.fault_for(self.command, self.headers.get("Range", ""))
        if isinstance(fault, Reset) and self.command == "PUT":
            self.rfile.read(min(fault.after, self._length()))
            return self._reset()
        body = self.rfile.read(self._length())
        if isinstance(fault, Refuse):
            return self._refuse(fault.status)
        if isinstance(fault, Delay):
            time.sleep(fault.seconds)
        if isinstance(fault, Meanwhile):
            fault.happens()
        connection = HTTPConnection(urlsplit(proxy.upstream).netloc, timeout=60)
        try:
            self._answer(self._ask(connection, body), fault)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # a client that waits no longer
        finally:
            connection.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # http.server's names

    def _length(self) -> int:
        return int(self.headers.get("Content-Length", 0))

    def _ask(self, connection: HTTPConnection, body: bytes) -> HTTPResponse:
        # The host stays the one that the client signed.
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _HOP_BY_HOP:
                connection.putheader(name, value)
        connection.endheaders(body)
        return connection.getresponse()

    def _answer(self, answer: HTTPResponse, fault: Fault | None) -> None:
        if isinstance(fault, LoseAnswer):
            answer.read()
            self._reset()
            return
        promised = int(answer.headers.get("Content-Length", 0))
        if isinstance(fault, Shorten) and self.command != "HEAD":  # or it tells a wrong size
            promised = min(promised, fault.to)
        if answer.length is None:  # in chunks: a listing
            chunked, promised = answer.read(), 0
        else:
            chunked = b""
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in {*_HOP_BY_HOP, "content-length"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(chunked) or promised))
        self.end_headers()
        self.wfile.write(chunked)
        if self.command != "HEAD":
            self._send_body(answer, promised, fault)

    def _send_body(self, answer: HTTPResponse, promised: int, fault: Fault | None) -> None:
        left = min(promised, fault.after) if isinstance(fault, Reset | CutShort) else promised
        while piece := answer.read(min(left, _PIECE)):
            self.wfile.write(piece)
            left -= len(piece)
            if isinstance(fault, Throttle):
                time.sleep(len(piece) / fault.bytes_per_second)
        if isinstance(fault, Reset) and promised > fault.after:
            self._reset()
        if isinstance(fault, CutShort | Shorten):
            self.close_connection = True

    def _refuse(self, status: int) -> None:
        code, message = {
            500: ("InternalError", "We encountered an internal error. Please try again."),
            503: ("SlowDown", "Please reduce your request rate."),
        }[status]
        body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())  # at once, or an orderly end would come first
