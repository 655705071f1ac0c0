"""Kept samples arrive unchanged: byte for byte, in order, none twice, from any tar."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from shardsift import annotate_shards
from shardsift.errors import ConfigError, ShardError
from shardsift.resharding.source import KeptRow, read_kept
from tests.disks import disk_with_room_for
from tests.fakes import FakeScorer
from tests.fuzz.tars import END, Member, build, sparse
from tests.outputs import edit_rows
from tests.samples import File, encoded, tar_bytes, write_tar
from tests.shardsift.resharding.corpora import (
    Corpus,
    Files,
    files_of,
    key_of,
    make_corpus,
    plain_corpus,
    sample,
    score,
)

EVERYTHING = {"keep_top": 1.0, "errors": "keep"}


def kept_files(corpus: Corpus) -> Files:
    """Files of the sources whose samples are kept; keys have to differ."""
    kept = set(corpus.kept_keys())
    sources = (file for path in sorted(corpus.shards.glob("*.tar")) for file in files_of(path))
    return [(name, data) for name, data in sources if key_of(name) in kept]


def test_without_annotating_every_byte_is_as_it_was(tmp_path: Path) -> None:
    corpus = plain_corpus(tmp_path, shards=4, samples=10)
    reports = corpus.reshard(annotate_columns="none", samples_per_shard=7)
    assert corpus.written() == kept_files(corpus)
    assert [report.samples for report in reports] == [7, 7, 6]
    assert [report.bytes for report in reports] == [
        path.stat().st_size for path in sorted(corpus.out.glob("*.tar"))
    ]


def test_annotating_changes_only_the_json(tmp_path: Path) -> None:
    corpus = plain_corpus(tmp_path)
    corpus.reshard()
    before, after = kept_files(corpus), corpus.written()
    assert [name for name, _ in after] == [name for name, _ in before]
    for (name, old), (_, new) in zip(before, after, strict=True):
        if name.endswith(".json"):
            merged = json.loads(new)
            assert merged.keys() == {"uid", "width", "quality", "q_sim", "q_mag"}
            assert merged.items() >= json.loads(old).items()
        else:
            assert new == old


@pytest.mark.parametrize(
    ("content", "left"),
    [(None, False), (b"[1, 2]", True), (b"{broken", True), (b"\xff\xfe{\0}\0", True), (b"", True)],
    ids=["none", "a list", "broken", "UTF-16", "empty"],
)
def test_a_json_is_made_where_there_is_none_and_left_where_it_is_no_object(
    content: bytes | None, left: bool, tmp_path: Path
) -> None:
    files = sample("a", 1, with_json=False)
    if content is not None:
        files.append(("a.json", content))
    corpus = make_corpus(tmp_path, [files], **EVERYTHING)
    (report,) = corpus.reshard()
    assert (report.json_made, report.json_left) == (int(not left), int(left))
    written = dict(corpus.written())
    assert written.keys() == {"a.jpg", "a.txt", "a.json"}
    if left:
        assert written["a.json"] == content
    else:
        assert json.loads(written["a.json"]).keys() == {"quality", "q_sim", "q_mag"}


def test_a_gzipd_shard_is_unpacked_in_memory_and_only_what_is_kept(tmp_path: Path) -> None:
    zeros = bytes(64 << 20)
    files = [*sample("a", 1), ("zeros.bin", zeros), *sample("b", 2), ("b.big", zeros[: 1 << 20])]
    tar = io.BytesIO()
    path = write_tar(tmp_path / "plain.tar", files)
    tar.write(gzip.compress(path.read_bytes(), 1))
    corpus = Corpus(tmp_path)
    corpus.shards.mkdir()
    (corpus.shards / "0.tar").write_bytes(tar.getvalue())
    score(corpus, keep_top=1)
    with disk_with_room_for(2 << 20):
        corpus.reshard(annotate_columns="none")
    assert corpus.written() == [file for file in files_of(path) if file[0] != "zeros.bin"]


def test_a_kept_sample_that_grows_to_a_gigabyte_is_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("a.jpg")
    header.size = 2 << 30
    (tmp_path / "0.tar").write_bytes(gzip.compress(header.tobuf()))
    row = KeptRow(index=0, key="a", offset=None, begin=0, end=0, fields="")
    with pytest.raises(ShardError, match="a has over 1,024 MiB when it is unpacked"):
        list(read_kept(str(tmp_path / "0.tar"), "0.tar", [row]))


@pytest.mark.parametrize("is_gzipped", [False, True])
def test_a_picture_that_isnt_the_one_that_was_scored_is_noticed(
    is_gzipped: bool, tmp_path: Path
) -> None:
    pack = partial(gzip.compress, compresslevel=0) if is_gzipped else bytes
    first, other = encoded("BMP", seed=1), encoded("BMP", seed=2)
    path = tmp_path / "in" / "0.tar"
    path.parent.mkdir()
    path.write_bytes(pack(tar_bytes([("a.bmp", first), ("b.bmp", first)])))
    when = path.stat()
    annotate_shards(path, FakeScorer(), tmp_path / "scores", hashes=["sha256"])
    corpus = Corpus(tmp_path)
    corpus.filter(keep_top=1)
    path.write_bytes(pack(tar_bytes([("a.bmp", first), ("b.bmp", other)])))
    os.utime(path, ns=(when.st_atime_ns, when.st_mtime_ns))
    with pytest.raises(ShardError, match="the image of b has another sha256"):
        corpus.reshard()


def test_files_that_stand_apart_from_their_picture_are_counted(tmp_path: Path) -> None:
    keys = ("a", "b")
    files = [(f"{key}.json", b'{"uid": "1"}') for key in keys]
    files += [(f"{key}.jpg", encoded(seed=place)) for place, key in enumerate(keys)]
    files += [("c.jpg", encoded(seed=7)), *((f"{key}.txt", b"words") for key in keys)]
    corpus = make_corpus(tmp_path, [files], keep_top=1)
    (report,) = corpus.reshard()
    assert (report.samples, report.split, report.json_made) == (3, 2, 1)


def test_any_column_of_annotations_is_merged(tmp_path: Path) -> None:
    files = {"a.jpg": encoded(seed=1), "a.json": b'{"phash": "old", "caption": "A"}'}
    write_tar(tmp_path / "in" / "0.tar", files.items())
    scorer = FakeScorer()
    scorer.attributes = {"text": (("text", "no text"),)}
    annotate_shards(tmp_path / "in", scorer, tmp_path / "scores", hashes=["sha256", "phash"])
    corpus = Corpus(tmp_path)
    corpus.filter(keep_top=1)
    corpus.reshard(annotate_columns="attr_text,phash,sha256,key,width,error")
    (row,) = pq.read_table(corpus.scores).to_pylist()
    written = dict(corpus.written())["a.json"]
    assert json.loads(written) == {
        "caption": "A",
        "attr_text": pytest.approx(row["attr_text"]),
        "phash": f"{row['phash']:016x}",
        "sha256": hashlib.sha256(files["a.jpg"]).hexdigest(),
        "key": "a",
        "width": row["width"],
        "error": None,
    }
    with pytest.raises(ConfigError, match="no such column; did you mean attr_text"):
        corpus.reshard(annotate_columns="attr_txt", overwrite=True)


MERGED = [
    (b'{"n": 1.10, "s": "\\ud800"}', b'{"n": 1.10, "s": "\\ud800", '),
    (b'{\n    "n": 1\n}\n', b'{\n    "n": 1, '),
    (b" {} ", b" {"),
    (b'\xef\xbb\xbf{"n": 1}', b'{"n": 1, '),
    (b'{"quality": "good", "n": 1, "q_sim": 2}', b'{"n": 1, '),
    (b'{"n": 1e400, "m": -1E+999}', b'{"n": 1e400, "m": -1E+999, '),
    (
        b'{ "n" : 1e400 ,\n"quality":{"x": [1, "}"]},"\\u0071_sim":1, "s":"\\ud800\xc3\xa9"}\n',
        b'{"n" : 1e400, "s":"\\ud800\xc3\xa9", ',
    ),
    (b'{"quality": 1, "n": 1.10, "quality": 2}', b'{"n": 1.10, '),
    (b'{"quality": 1, "n": ' + b"9" * 5000 + b"}", b'{"n": ' + b"9" * 5000 + b", "),
    (b'{"quality": 1}', b"{"),
]
"""The JSON of a sample, and what it is in front of its scores: names that are taken go."""


def test_other_fields_keep_their_bytes(tmp_path: Path) -> None:
    contents = [[(f"{n}.jpg", IMAGE), (f"{n}.json", told)] for n, (told, _) in enumerate(MERGED)]
    corpus = make_corpus(tmp_path, [[file for files in contents for file in files]], **EVERYTHING)
    corpus.reshard()
    written = dict(corpus.written())
    for row, (_, merged) in zip(pq.read_table(corpus.scores).to_pylist(), MERGED, strict=True):
        cues = [f'"{name}": {np.float32(row[name])!s}' for name in ("quality", "q_sim", "q_mag")]
        assert written[f"{row['key']}.json"] == merged + ", ".join(cues).encode() + b"}"


def test_a_kept_sample_without_a_score_says_null(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, [[*sample("a", 1), ("b.txt", b"no image")]], **EVERYTHING)
    corpus.reshard()
    made = json.loads(dict(corpus.written())["b.json"])
    assert made == {"quality": None, "q_sim": None, "q_mag": None}


# --- odd tars ------------------------------------------------------------------------------------

IMAGE = encoded(width=230)


def images(*names: str) -> list[File]:
    return [(name, encoded(width=230, seed=n)) for n, name in enumerate(names)]


LAYOUTS: dict[str, Sequence[File]] = {
    "the image stands last": [file for n in range(6) for file in reversed(sample(f"k{n}", n))],
    "a mask beside the image": [
        file
        for n in range(6)
        for file in [(f"k{n}.mask.png", encoded("PNG", 40, 40)), *sample(f"k{n}", n)]
    ],
    "folders, and names without an extension": [
        ("README", b"read me"),
        *(file for n in range(4) for file in [*sample(f"deep/er/k{n}", n), (f"note{n}", b"!")]),
        ("__meta__/info.json", b"{}"),
    ],
    "samples without an image": [
        file for n in range(6) for file in (sample(f"k{n}", n) if n % 2 else [(f"k{n}.txt", b"-")])
    ],
    "upper-case extensions": images("a.JPG", "a.Json", "b.JPG", "c.JPG", "d.jpg"),
    "empty files": [
        (name, b"") if "txt" in name else (name, data)
        for n in range(4)
        for name, data in sample(f"k{n}", n)
    ],
    "long names": [file for n in range(3) for file in sample("long" * 40 + str(n), n)],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_samples_are_copied_from_any_layout(layout: str, tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, [LAYOUTS[layout]])
    for rule in ({"keep_count": 2}, {"keep_top": 1.0}):
        corpus.filter(**rule)
        corpus.reshard(annotate_columns="none", overwrite=True)
        kept = set(corpus.kept_keys())
        assert corpus.written() == [
            (name, data)
            for name, data in LAYOUTS[layout]
            if not name.startswith(("README", "note", "__meta__")) and key_of(name) in kept
        ]


def test_repeated_keys_are_told_apart_by_their_place(tmp_path: Path) -> None:
    """Each quality is that of a grey level: the third and the fifth are the brightest."""
    greys = [10, 20, 250, 30, 240, 40]
    files: list[File] = []
    for grey in greys:
        content = io.BytesIO()
        Image.new("RGB", (230, 230), (grey, grey, grey)).save(content, "PNG")
        files += [("k.png", content.getvalue()), ("k.txt", str(grey).encode())]
    corpus = make_corpus(tmp_path, [files], keep_count=2)
    corpus.reshard(annotate_columns="none")
    assert [data for name, data in corpus.written() if name == "k.txt"] == [b"250", b"240"]
    assert [path.name for path in sorted(corpus.out.glob("*.tar"))] == [
        "00000000.tar",
        "00000001.tar",
    ], "in one tar, a reader would take them for one sample"


def test_files_with_holes_keep_them(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path)
    corpus.shards.mkdir(parents=True)
    entries = [
        build([Member("a.jpg", IMAGE)])[: -len(END)],
        sparse("a.bin", 50_000, b"holes"),
        sparse("b.jpg", len(IMAGE) + 8192, IMAGE),
    ]
    (corpus.shards / "0.tar").write_bytes(b"".join(entries) + END)
    score(corpus, **EVERYTHING)
    corpus.reshard(annotate_columns="none")
    assert corpus.written() == files_of(corpus.shards / "0.tar")


def test_names_that_are_no_text_keep_their_bytes(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path)
    corpus.shards.mkdir(parents=True)
    path = corpus.shards / "0.tar"
    with tarfile.open(path, "w", encoding="latin-1", format=tarfile.GNU_FORMAT) as tar:
        for name, data in images("café.jpg", "thé.jpg"):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    score(corpus, **EVERYTHING)
    corpus.reshard()
    (path,) = corpus.out.glob("*.tar")
    with tarfile.open(path, encoding="latin-1") as tar:
        assert tar.getnames() == ["café.jpg", "café.json", "thé.jpg", "thé.json"]


# --- what goes wrong -----------------------------------------------------------------------------


def test_a_source_that_changed_since_it_was_scored_is_refused(tmp_path: Path) -> None:
    corpus = plain_corpus(tmp_path)
    (task,), write = corpus.tasks()
    with (corpus.shards / "00001.tar").open("ab") as file:
        file.write(bytes(10240))
    with pytest.raises(ShardError, match=r"00001\.tar: has changed since it was scored \(size "):
        write(task)
    assert list(corpus.out.glob("*")) == []


def test_an_image_that_isnt_where_it_was_is_refused(tmp_path: Path) -> None:
    """A copy of the corpus, whose times mean nothing, with a shard of the same size."""
    corpus = plain_corpus(tmp_path)
    elsewhere = corpus.shards.rename(tmp_path / "elsewhere")
    path = elsewhere / "00001.tar"
    data = path.read_bytes()
    kept = next(key for key in corpus.kept_keys() if key.startswith("01"))
    path.write_bytes(data.replace(kept.encode(), b"019999"))
    (task,), write = corpus.tasks(shards=[str(elsewhere)])
    with pytest.raises(ShardError, match=r"00001\.tar: .* isn't where it was"):
        write(task)
    assert list(corpus.out.glob("*")) == []


def test_a_keep_list_that_changed_since_the_plan_is_refused(tmp_path: Path) -> None:
    corpus = plain_corpus(tmp_path)
    (task,), write = corpus.tasks()
    corpus.filter(keep_top=0.2)
    with pytest.raises(ShardError, match="not a keep-list of this filter: its rule is"):
        write(task)


def test_a_keep_list_that_was_edited_is_refused(tmp_path: Path) -> None:
    corpus = plain_corpus(tmp_path)
    (task,), write = corpus.tasks()
    path = corpus.kept / "keep-list" / "00000.parquet"
    edit_rows(path, lambda rows: rows[0].update(index=-1))
    with pytest.raises(ShardError, match="its rows don't match its digest"):
        write(task)


def test_a_disk_that_fills_up_leaves_nothing_half_written(tmp_path: Path) -> None:
    corpus = plain_corpus(tmp_path)
    (task,), write = corpus.tasks()
    with (
        pytest.raises(ShardError, match=r"^00000000\.tar: can't be written: .*too large"),
        disk_with_room_for(20_000),
    ):
        write(task)
    assert list(corpus.out.glob("*")) == []
