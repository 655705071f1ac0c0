"""Our own JSON files are unchanged, or one line says why not."""

from __future__ import annotations

import json

import pytest

from shardsift.documents import Document, DocumentError


class Run(Document):
    rows: int
    names: tuple[str, ...]
    share: float | None


WRITTEN = Run(rows=3, names=("ä", "b"), share=0.5)


def test_a_document_is_read_as_it_was_written() -> None:
    assert Run.decode(WRITTEN.encode()) == WRITTEN
    assert WRITTEN.encode() == WRITTEN.encode()
    assert list(json.loads(WRITTEN.encode())) == ["rows", "names", "share", "digest"]


def test_no_bit_of_it_can_change_unnoticed() -> None:
    data = WRITTEN.encode()
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DocumentError):
            Run.decode(bytes(changed))


def test_one_that_others_write_without_a_digest_is_taken() -> None:
    assert Run.decode(b'{"share": null, "names": [], "rows": 0}') == Run(
        rows=0, names=(), share=None
    )


def test_one_of_an_earlier_version_is_read_and_guarded() -> None:
    """A document of an earlier version, without later fields, used to count as changed."""

    class NewRun(Run):
        has_moved: bool = False

    assert NewRun.decode(WRITTEN.encode()) == NewRun(rows=3, names=("ä", "b"), share=0.5)
    with pytest.raises(DocumentError, match="was changed since it was written"):
        NewRun.decode(WRITTEN.encode().replace(b"3", b"4", 1))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not JSON: Expecting value"),
        (b"\xff", "not JSON: 'utf-8' codec can't decode"),
        (b"[" * 100_000, "not JSON: maximum recursion depth"),
        (b"[]", "not a JSON object"),
        (b'"rows"', "not a JSON object"),
        (b'{"rows": 3}', "names: Field required"),
        (b'{"rows": "3", "names": [], "share": 1}', "rows: Input should be a valid integer"),
        (b'{"rows": 3.5, "names": [], "share": 1}', "rows: Input should be a valid integer"),
        (b'{"rows": true, "names": [], "share": 1}', "rows: Input should be a valid integer"),
        (b'{"rows": 3, "names": [1], "share": 1}', "names.0: Input should be a valid string"),
        (b'{"rows": 3, "names": {}, "share": 1}', "names: Input should be a valid array"),
        (b'{"rows": 3, "names": [], "share": 1, "x": 2}', "x: Extra inputs are not permitted"),
        (b'{"rows": 3, "names": [], "share": 1, "digest": 7}', "was changed since it was written"),
    ],
)
def test_what_isnt_one_is_told_in_one_line(data: bytes, says: str) -> None:
    with pytest.raises(DocumentError) as error:
        Run.decode(data)
    assert str(error.value).startswith(says)
    assert "\n" not in str(error.value)
