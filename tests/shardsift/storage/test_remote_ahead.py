"""Blocks are fetched several at a time, and come out in order, each byte once."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from functools import partial
from threading import Barrier

import pytest

from shardsift.storage import remote
from shardsift.storage.remote import BLOCKS_AHEAD, AheadReader, Backoff, ResumingReader

BLOCK = 1000
CONTENT = random.Random(0).randbytes(20 * BLOCK + 17)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "READ_BLOCK_BYTES", BLOCK)
    monkeypatch.setattr("shardsift.storage.remote.BACKOFF", Backoff(tries=2, first_wait=0.001))


class Store:
    """As much of an fsspec filesystem as reading needs, with one object.

    `before` is called before each read, with the place where it begins.
    """

    def __init__(self, content: bytes, before: Callable[[int], object] = lambda at: None) -> None:
        self.content, self.before = content, before

    def open(self, path: str, mode: str, **_: object) -> StoredFile:
        return StoredFile(self)

    def info(self, path: str) -> dict[str, object]:
        return {"size": len(self.content), "ETag": hash(self.content)}

    def invalidate_cache(self, path: str) -> None:
        """Forget nothing."""


class StoredFile(io.BytesIO):
    def __init__(self, store: Store) -> None:
        super().__init__(store.content)
        self.store, self.size = store, len(store.content)

    def read(self, size: int | None = -1, /) -> bytes:
        self.store.before(self.tell())
        return super().read(size)


def reader(store: Store, like: ResumingReader | None = None) -> ResumingReader:
    return ResumingReader(store, "0.tar", "s3://0.tar", like=like)


def open_ahead(store: Store) -> io.BufferedReader:
    first = reader(store)
    return io.BufferedReader(AheadReader(first, partial(reader, store, first)), 100)


def test_reads_and_seeks_anywhere_give_the_bytes_that_lie_there() -> None:
    chance = random.Random(1)
    with open_ahead(Store(CONTENT)) as file:
        for _ in range(300):
            if chance.random() < 0.3:
                file.seek(chance.randrange(len(CONTENT) + 50))
            at, size = file.tell(), chance.choice([1, 512, 999, 1000, 1001, 5000])
            assert file.read(size) == CONTENT[at : at + size]
        file.seek(0)
        assert file.read() == CONTENT


def test_blocks_are_asked_for_at_the_same_time() -> None:
    content = CONTENT[: BLOCKS_AHEAD * BLOCK]
    all_ask = Barrier(BLOCKS_AHEAD)
    with open_ahead(Store(content, before=lambda at: all_ask.wait(30))) as file:
        assert file.read() == content


def test_a_block_that_cannot_be_read_costs_nothing_before_it() -> None:
    def fail(at: int) -> None:
        if at == 3 * BLOCK:
            raise ConnectionResetError("reset by peer")

    with open_ahead(Store(CONTENT, before=fail)) as file:
        assert file.read(3 * BLOCK) == CONTENT[: 3 * BLOCK]
        with pytest.raises(OSError, match=r"reset by peer \(2 tries"):
            file.read(1)


def test_a_file_that_is_replaced_while_it_is_read_is_an_error() -> None:
    store = Store(CONTENT)
    with reader(store) as first:
        store.content = CONTENT[::-1]
        with pytest.raises(OSError, match="changed while it was read"):
            reader(store, like=first)
