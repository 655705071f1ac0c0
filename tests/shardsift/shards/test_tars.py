"""Headers as everyone writes them are read in a few microseconds; tarfile reads the others."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from webdataset.writer import TarWriter

from shardsift.shards.tars import Member, read_members

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
