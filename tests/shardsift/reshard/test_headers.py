"""Headers read here are those that `tarfile` reads, whoever wrote them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from typing import Any

import pytest

from shardsift.reshard.headers import (
    BLOCK,
    Member,
    TarPiece,
    end_of_archive,
    new_headers,
    padded,
    resized,
)
from tests.fuzz.tars import END, sparse

LONG = "deep/" * 40 + "name.jpg"
UNICODE = "bücher/größe.jpg"


def archive(format_: int, add: Callable[[tarfile.TarFile], object], **options: Any) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=format_, **options) as tar:
        add(tar)
    return content.getvalue()


def add(tar: tarfile.TarFile, name: str, data: bytes = b"", **fields: Any) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for field, value in fields.items():
        setattr(member, field, value)
    tar.addfile(member, io.BytesIO(data))


def add_all(tar: tarfile.TarFile) -> None:
    """Files as people have them, and what lies between them."""
    add(tar, "a.jpg", b"x" * 700)
    add(tar, "folder", type=tarfile.DIRTYPE)
    add(tar, "folder/b.json", b"{}")
    add(tar, "link.jpg", type=tarfile.SYMTYPE, linkname="a.jpg")
    add(tar, "hard.jpg", type=tarfile.LNKTYPE, linkname="a.jpg")
    add(tar, "dated.jpg", b"y" * 512, mtime=1_700_000_000.123)
    add(tar, "empty.txt")
    if tar.format != tarfile.USTAR_FORMAT:
        add(tar, LONG, b"z")
        add(tar, UNICODE, b"u" * 513)
    add(tar, "owned.jpg", b"o", uid=70_000, gid=3, uname="somebody", gname="people")


def ours(data: bytes) -> list[Member]:
    tar = TarPiece(memoryview(data))
    found: list[Member] = []
    while (member := tar.next_file(found[-1].end if found else 0)) is not None:
        found.append(member)
    return found


@pytest.mark.parametrize(
    "format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=str
)
def test_every_file_is_where_tarfile_says(format_: int) -> None:
    data = archive(format_, add_all)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        expected = [(m.name.encode(), m.offset_data, m.size) for m in tar.getmembers() if m.isreg()]
    found = ours(data)
    assert [(m.name, m.data, m.size) for m in found] == expected
    for member in found:  # all headers of a file go along with it
        alone = data[member.begin : member.end] + end_of_archive(member.end - member.begin)
        with tarfile.open(fileobj=io.BytesIO(alone)) as tar:
            assert [m.name.encode() for m in tar] == [member.name]


def test_what_stands_in_a_global_header_is_passed_over() -> None:
    headers = {"comment": "made by git"}
    data = archive(tarfile.PAX_FORMAT, add_all, pax_headers=headers)
    assert [member.name for member in ours(data)][:2] == [b"a.jpg", b"folder/b.json"]


def test_a_file_with_holes_keeps_its_headers_and_is_never_resized() -> None:
    entry = sparse("holes.json", 100_000, b"{}")
    (member,) = ours(entry + END)
    assert (member.name, member.is_plain) == (b"holes.json", False)
    assert (member.begin, member.end) == (0, len(entry))


def test_a_piece_may_begin_and_end_at_any_file() -> None:
    data = archive(tarfile.GNU_FORMAT, add_all)
    members = ours(data)
    second = members[1]
    piece = data[second.begin : members[2].data]
    tar = TarPiece(memoryview(piece))
    assert tar.next_file(0) == second._replace(
        begin=0, data=second.data - second.begin, end=second.end - second.begin
    )
    last = tar.next_file(second.end - second.begin)
    assert last is not None
    assert last.name == members[2].name
    assert last.end > len(piece), "its content lies behind the piece"


def test_what_is_no_header_is_an_error() -> None:
    with pytest.raises(tarfile.TarError):
        TarPiece(memoryview(b"<html>" * 200)).next_file(0)


@pytest.mark.parametrize("format_", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=str)
def test_a_resized_file_is_read_with_its_new_content(format_: int) -> None:
    data = archive(format_, lambda tar: add(tar, LONG, b"old", mtime=1.5, mode=0o600))
    member = ours(data)[0]
    new = b"new content" * 100
    changed = resized(data[member.begin : member.data], len(new)) + new.ljust(
        padded(len(new)), b"\0"
    )
    with tarfile.open(fileobj=io.BytesIO(changed + end_of_archive(len(changed)))) as tar:
        (found,) = tar.getmembers()
        content = tar.extractfile(found)
        assert content is not None
        assert (found.name, found.mode, content.read()) == (LONG, 0o600, new)


@pytest.mark.parametrize("name", [b"a.json", LONG.encode(), b"caf\xe9.json"])
def test_new_headers_have_any_name(name: bytes) -> None:
    made = new_headers(name, 5) + b"hello".ljust(BLOCK, b"\0")
    (member,) = ours(made + end_of_archive(len(made)))
    assert (member.name, member.size) == (name, 5)


@pytest.mark.parametrize("size", [0, BLOCK, 9216, 10240, 1 << 20])
def test_an_archive_ends_as_tarfile_ends_it(size: int) -> None:
    assert (size + len(end_of_archive(size))) % tarfile.RECORDSIZE == 0
    assert len(end_of_archive(size)) >= 2 * BLOCK
