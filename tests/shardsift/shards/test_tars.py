"""Headers as everyone writes them are read in a few microseconds; tarfile reads the others."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections import Counter
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import Any, cast

import pytest
from webdataset.writer import TarWriter

from shardsift.shards.tars import (
    BLOCK,
    Member,
    end_of_archive,
    members_in,
    new_headers,
    padded,
    read_members,
    resized,
)
from tests.fuzz.tars import END, sparse

FILES = {f"{number:06}.{kind}": bytes([number]) * 700 for number in range(3) for kind in "jt"}


def by_webdataset(path: Path) -> None:
    with TarWriter(str(path)) as tar:
        for name, content in FILES.items():
            key, kind = name.split(".")
            tar.write({"__key__": key, kind: content})


def by_tarfile(form: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with tarfile.open(path, "w", format=form) as tar:
            for name, content in FILES.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))

    return write


def by_tar(form: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        for name, content in FILES.items():
            (path.parent / name).write_bytes(content)
        command = ["tar", f"--format={form}", "-cf", path, *FILES]
        subprocess.run(command, cwd=path.parent, check=True)

    return write


def members_of(path: Path) -> list[Member]:
    with path.open("rb") as file:
        return list(read_members(file, Counter()))


@pytest.mark.parametrize(
    "write",
    [
        by_webdataset,
        by_tarfile(tarfile.GNU_FORMAT),
        by_tarfile(tarfile.PAX_FORMAT),
        by_tarfile(tarfile.USTAR_FORMAT),
        by_tar("gnu"),
        by_tar("posix"),
        by_tar("ustar"),
    ],
    ids=["webdataset", "GNU", "pax", "ustar", "tar: GNU", "tar: posix", "tar: ustar"],
)
def test_common_tars_are_read_without_tarfile(
    write: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tar"
    write(path)
    by_tarfile: list[str] = []
    frombuf = tarfile.TarInfo.frombuf

    def count(buffer: bytes, *arguments: str) -> tarfile.TarInfo:
        info = frombuf(buffer, *arguments)
        by_tarfile.append(info.name)
        return info

    monkeypatch.setattr(tarfile.TarInfo, "frombuf", count)
    with path.open("rb") as file:
        found = {member.name: member.read() for member in read_members(file, Counter())}
    assert found == FILES
    assert not by_tarfile
    whole = path.read_bytes()
    for member in members_of(path):
        assert member.offset is not None
        assert whole[member.offset : member.offset + member.size] == FILES[member.name]


def test_what_a_global_header_says_holds_for_plain_headers(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT, pax_headers={"path": "all.jpg"}) as tar:
        for name in ("a.jpg", "b.jpg"):
            tar.addfile(tarfile.TarInfo(name))
    assert [member.name for member in members_of(path)] == ["all.jpg", "all.jpg"]


def test_a_file_that_is_not_read_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    by_webdataset(path)
    with path.open("rb") as file:
        last = [
            member.read() for member in read_members(file, Counter()) if member.name == "000002.t"
        ]
    assert last == [FILES["000002.t"]]


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


def members_in_bytes(data: bytes) -> list[Member]:
    with BufferedReader(cast(Any, io.BytesIO(data))) as file:
        return list(read_members(file, Counter()))


@pytest.mark.parametrize(
    "format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=str
)
def test_every_file_is_where_tarfile_says(format_: int) -> None:
    data = archive(format_, add_all)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        expected = [(m.name.encode(), m.offset_data, m.size) for m in tar.getmembers() if m.isreg()]
    found = members_in_bytes(data)
    assert [(m.raw_name, m.data, m.size) for m in found] == expected
    for member in found:  # all headers of a file go along with it
        alone = data[member.begin : member.end] + end_of_archive(member.end - member.begin)
        with tarfile.open(fileobj=io.BytesIO(alone)) as tar:
            assert [m.name.encode() for m in tar] == [member.raw_name]


def test_what_stands_in_a_global_header_is_passed_over() -> None:
    headers = {"comment": "made by git"}
    data = archive(tarfile.PAX_FORMAT, add_all, pax_headers=headers)
    assert [member.name for member in members_in_bytes(data)][:2] == ["a.jpg", "folder/b.json"]


def test_a_file_with_holes_keeps_its_headers_and_is_never_resized() -> None:
    entry = sparse("holes.json", 100_000, b"{}")
    (member,) = members_in_bytes(entry + END)
    assert (member.name, member.is_plain) == ("holes.json", False)
    assert (member.begin, member.end) == (0, len(entry))


def test_headers_and_blocks_are_what_stands_in_the_tar() -> None:
    data = archive(tarfile.PAX_FORMAT, add_all)
    with BufferedReader(cast(Any, io.BytesIO(data))) as file:
        for member in read_members(file, Counter()):
            assert member.headers == data[member.begin : member.data]
            assert member.read_blocks() == data[member.data : member.end]


def test_a_piece_may_begin_and_end_at_any_file() -> None:
    data = archive(tarfile.GNU_FORMAT, add_all)
    _, second, third, *_ = members_in_bytes(data)
    piece = data[second.begin : third.data]
    found = list(members_in(io.BytesIO(piece), 0, len(piece)))
    shift = second.begin
    places = [(m.raw_name, m.begin + shift, m.data + shift, m.end + shift) for m in found]
    assert places == [(m.raw_name, m.begin, m.data, m.end) for m in (second, third)]
    assert found[1].end > len(piece), "its content lies behind the piece"
    assert list(members_in(io.BytesIO(piece), 0, found[1].begin))[1:] == []


def test_what_is_no_header_is_an_error() -> None:
    with pytest.raises(tarfile.TarError):
        list(members_in(io.BytesIO(b"<html>" * 200), 0, 1200))


@pytest.mark.parametrize("format_", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=str)
def test_a_resized_file_is_read_with_its_new_content(format_: int) -> None:
    data = archive(format_, lambda tar: add(tar, LONG, b"old", mtime=1.5, mode=0o600))
    member = members_in_bytes(data)[0]
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
    (member,) = members_in_bytes(made + end_of_archive(len(made)))
    assert (member.raw_name, member.size) == (name, 5)


@pytest.mark.parametrize("size", [0, BLOCK, 9216, 10240, 1 << 20])
def test_an_archive_ends_as_tarfile_ends_it(size: int) -> None:
    assert (size + len(end_of_archive(size))) % tarfile.RECORDSIZE == 0
    assert len(end_of_archive(size)) >= 2 * BLOCK
