"""Captions: one line, from whatever a kind of corpus keeps beside its pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardsift.shards.beside import caption_of
from shardsift.shards.plan import plan_shards
from shardsift.shards.readers import read_samples
from tests.samples import encoded, write_tar

JPEG = encoded()
ROWS: dict[str, dict[str, Any]] = {
    "a": {"caption": "two\nlines, \t one caption", "alt": {"en": "nested"}},
    "b": {"caption": None, "alt": None},
    "c": {"caption": "", "alt": {"en": "日本 – \U0001f431"}},
}


def as_tar(folder: Path) -> None:
    files: list[tuple[str, bytes]] = []
    for key, row in ROWS.items():
        files += [(f"{key}.jpg", JPEG), (f"{key}.json", json.dumps(row).encode())]
        if row["caption"] is not None:
            files += [(f"{key}.txt", row["caption"].encode()), (f"{key}.npy", b"not read")]
    write_tar(folder / "0.tar", files)


def as_table(folder: Path) -> None:
    rows = [{"key": key, "image": JPEG, "other": "x", **row} for key, row in ROWS.items()]
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "0.parquet")


def as_folder(folder: Path) -> None:
    folder.mkdir()
    for key, row in ROWS.items():
        (folder / f"{key}.jpg").write_bytes(JPEG)
        (folder / f"{key}.json").write_text(json.dumps(row))
        if row["caption"] is not None:
            (folder / f"{key}.txt").write_text(row["caption"])


def as_folder_with_table(folder: Path) -> None:
    folder.mkdir()
    lines = [json.dumps({"file_name": f"{key}.jpg", **row}) for key, row in ROWS.items()]
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    for key in ROWS:
        (folder / f"{key}.jpg").write_bytes(JPEG)


@pytest.mark.parametrize("write", [as_tar, as_table, as_folder, as_folder_with_table])
def test_every_kind_of_corpus_has_them(write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path / "in")
    (task,) = plan_shards([str(tmp_path / "in")])
    samples = list(read_samples(task, captions=("txt", "alt.en")))
    assert [caption_of(sample, "txt") for sample in samples] == [
        ("two lines, one caption", False),
        (None, False),
        (None, False),
    ]
    alts = [caption_of(sample, "alt.en") for sample in samples]
    assert alts == [("nested", False), (None, False), ("日本 – \U0001f431", False)]
    assert not any({*sample.beside} - {"txt"} for sample in samples)


def test_without_being_asked_for_they_are_not_read(tmp_path: Path) -> None:
    as_tar(tmp_path / "in")
    (task,) = plan_shards([str(tmp_path / "in")])
    assert not any(sample.beside for sample in read_samples(task))


@pytest.mark.parametrize(
    ("fields", "caption"),
    [
        ({"text": ["a", "list"]}, (None, True)),
        ({"text": 5}, (None, True)),
        ({"text": None}, (None, False)),
        ({"other": "x"}, (None, False)),
        ({"text": "half \ud800 a pair"}, ("half ? a pair", False)),
    ],
)
def test_what_is_no_text_is_told_apart_from_none(
    fields: Any, caption: tuple[str | None, bool], tmp_path: Path
) -> None:
    write_tar(tmp_path / "0.tar", [("a.jpg", JPEG), ("a.json", json.dumps(fields).encode())])
    (task,) = plan_shards([str(tmp_path / "0.tar")])
    (sample,) = read_samples(task, captions=("text",))
    assert caption_of(sample, "text") == caption


def test_a_caption_of_megabytes_is_none(tmp_path: Path) -> None:
    files = [("a.jpg", JPEG), ("a.txt", b"x " * (3 << 20)), ("b.jpg", JPEG), ("b.txt", b"\xff b")]
    write_tar(tmp_path / "tars" / "0.tar", files)
    (tmp_path / "folder").mkdir()
    for name, data in files:
        (tmp_path / "folder" / name).write_bytes(data)
    for place in ("tars", "folder"):
        (task,) = plan_shards([str(tmp_path / place)])
        samples = read_samples(task, captions=("txt",))
        assert [caption_of(sample, "txt")[0] for sample in samples] == [None, "\ufffd b"]
