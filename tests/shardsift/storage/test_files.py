"""A committed file appears at once or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shardsift.errors import UserError
from shardsift.records import ShardTask
from shardsift.storage.files import (
    commit,
    commit_file,
    committing,
    delete,
    identify,
    is_annotation,
    list_files,
    read_bytes,
)


def test_a_commit_makes_folders_and_replaces(tmp_path: Path) -> None:
    url = str(tmp_path / "a" / "b.parquet")
    commit(url, b"one")
    commit(url, b"two")
    assert read_bytes(url) == b"two"
    assert list_files(str(tmp_path / "a")) == {"b.parquet"}


def test_a_commit_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = str(tmp_path / "b.parquet")
    commit(url, b"one")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        commit(url, b"two")
    assert list_files(str(tmp_path)) == {"b.parquet"}
    assert read_bytes(url) == b"one"


def test_the_disk_begins_to_write_before_a_large_file_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []

    def advise(descriptor: int, offset: int, size: int, advice: int) -> None:
        told.append((offset, size))

    monkeypatch.setattr(os, "posix_fadvise", advise)
    chunk = bytes(range(256)) * 5000
    with committing(str(tmp_path / "x.tar")) as file:
        for _ in range(20):
            file.write(chunk)
    assert (tmp_path / "x.tar").read_bytes() == chunk * 20
    ends = [offset + size for offset, size in told]
    assert [offset for offset, _ in told] == [0, *ends[:-1]], "one behind the other"
    assert 0 < 20 * len(chunk) - ends[-1] < 10 << 20, "what is left for the end"


def test_a_local_file_can_be_committed(tmp_path: Path) -> None:
    source = tmp_path / "scratch"
    source.write_bytes(b"rows")
    commit_file(str(tmp_path / "out" / "x"), source)
    commit_file("memory://commit_file/x", source)
    assert (
        read_bytes(str(tmp_path / "out" / "x")) == read_bytes("memory://commit_file/x") == b"rows"
    )


def test_listing_is_relative_and_tells_annotations_from_our_own_files(tmp_path: Path) -> None:
    names = ["a/0.parquet", "_manifest.arrow", "_failed/a/1.json", "a/_0.parquet.ab.tmp", "x.txt"]
    for name in names:
        commit(str(tmp_path / name), b"")
    found = list_files(str(tmp_path))
    assert found == set(names)
    assert {name for name in found if is_annotation(name)} == {"a/0.parquet"}


def test_listing_a_folder_that_isnt_there_is_empty(tmp_path: Path) -> None:
    assert list_files(str(tmp_path / "gone")) == set()


def test_a_folder_is_listed_through_links_and_circles_are_told(tmp_path: Path) -> None:
    commit(str(tmp_path / "elsewhere" / "0.parquet"), b"")
    commit(str(tmp_path / "out" / "1.parquet"), b"")
    (tmp_path / "out" / "link").symlink_to(tmp_path / "elsewhere")
    assert list_files(str(tmp_path / "out")) == {"1.parquet", "link/0.parquet"}
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "out")
    with pytest.raises(UserError, match=r"can't be listed: .*/link/back is a link to a folder"):
        list_files(str(tmp_path / "out"))


def test_deleting_twice_is_fine(tmp_path: Path) -> None:
    commit(str(tmp_path / "x"), b"")
    delete(str(tmp_path / "x"))
    delete(str(tmp_path / "x"))


def test_identity_follows_content_and_time(tmp_path: Path) -> None:
    path = tmp_path / "0.tar"
    task = ShardTask(url=str(path), shard="0.tar", annotation="0.parquet")
    path.write_bytes(b"one")
    before = identify(task.url, task.shard)
    assert (before.path, before.size) == ("0.tar", 3)
    assert identify(task.url, task.shard) == before
    os.utime(path, (1, 1))
    assert identify(task.url, task.shard) != before
