"""Retries without a store, and files that can't be read in ranges."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from shardsift.shards.tar_samples import read_tar
from shardsift.storage.files import open_read
from shardsift.storage.remote import Backoff, patiently
from tests.faults import FaultProxy, Reset
from tests.samples import encoded, write_tar

KEYS = [f"{n:03}" for n in range(20)]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardsift.storage.remote.BACKOFF", Backoff(tries=3, first_wait=0.001))


class Failing:
    """Raises its errors in turn, then returns 1."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def __call__(self) -> int:
        if self.errors:
            raise self.errors.pop(0)
        return 1


def test_what_may_pass_is_tried_again() -> None:
    assert patiently("s3://a", Failing(TimeoutError(), ConnectionResetError())) == 1


def test_the_last_failure_is_one_line() -> None:
    with pytest.raises(OSError, match=r"^no route \(3 tries in 0 s\)$"):
        patiently("s3://a", Failing(*[RuntimeError("no\n route")] * 3))


@pytest.mark.parametrize(
    "error", [FileNotFoundError("x"), PermissionError("x"), IsADirectoryError("x")], ids=repr
)
def test_what_cant_pass_is_raised_at_once_as_what_it_is(error: OSError) -> None:
    call = Failing(error, error)
    with pytest.raises(type(error), match=r"^x$"):
        patiently("s3://a", call)
    assert len(call.errors) == 1


@pytest.mark.parametrize("error", [ValueError("x"), NotImplementedError("x"), OSError(22, "x")])
def test_what_is_wrong_in_itself_is_raised_at_once_as_oserror(error: Exception) -> None:
    call = Failing(error, error)
    with pytest.raises(OSError, match=r"^x$"):
        patiently("s3://a", call)
    assert len(call.errors) == 1


class _Rangeless(SimpleHTTPRequestHandler):
    def end_headers(self) -> None:
        """Send the header that such servers send."""
        self.send_header("Accept-Ranges", "none")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing."""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[FaultProxy]:
    """A server that knows no ranges, behind a proxy; it has `0.tar`, of 20 samples and 12 MB."""
    files = [(f"{key}.jpg", encoded("BMP", 100, 50, seed=int(key))) for key in KEYS]
    files.insert(10, (f"{KEYS[9]}.npy", bytes(12_000_000)))
    write_tar(tmp_path / "0.tar", files)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Rangeless, directory=str(tmp_path)))
    Thread(target=server.serve_forever, daemon=True).start()
    with FaultProxy(f"http://127.0.0.1:{server.server_port}") as proxy:
        yield proxy
    server.shutdown()
    server.server_close()


def test_a_stream_without_ranges_goes_on_where_it_broke(web: FaultProxy) -> None:
    web.inject(Reset(after=9_000_000), "GET", times=2)
    assert [sample.key for sample in read_tar(f"{web.url}/0.tar")] == KEYS
    assert web.injected == 2


def test_a_stream_that_is_replaced_while_it_is_read_is_an_error(
    web: FaultProxy, tmp_path: Path
) -> None:
    web.inject(Reset(after=9_000_000), "GET")
    with open_read(f"{web.url}/0.tar") as file:
        file.read(512)
        write_tar(tmp_path / "0.tar", [("000.jpg", encoded())])
        with pytest.raises(OSError, match="changed while it was read"):
            file.read()
