"""`annotate` commits a row for every sample of any tar, or raises ShardError."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import Any, cast
from unittest import mock

import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from webdataset.tariterators import group_by_keys, tar_file_iterator

from shardsift.annotations.annotate import annotate
from shardsift.errors import ErrorCode, ShardError
from shardsift.images.decoder import ThreadDecoder
from shardsift.outputs.sealed_table import read_footer
from shardsift.records import ShardTask
from shardsift.shards import tars
from shardsift.shards.tar_samples import read_tar
from shardsift.shards.tars import read_members
from tests.fakes import FakeScorer
from tests.fuzz.limits import LONG, bounded, count, examples
from tests.fuzz.tars import END, FIELDS, Edit, Member, base_256, build, sparse, unending_sparse
from tests.samples import encoded

MEBIBYTES = 320
"""Far less than headers declare; some samples of 16 MiB of holes are in memory at once."""

IMAGES = [encoded(kind, width=9, height=7) for kind in ("JPEG", "PNG", "GIF")]
JSON = [b'{"uid": "u"}', b'{"sha256": 7}', b'{"uid": "\\ud800"}', b"[" * 2000, b"{", b"\xff"]

LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0\n")
BAD_BYTES = st.binary(min_size=1, max_size=4).map(
    lambda name: name.replace(b"\0", b"").replace(b"\n", b"").decode("utf-8", "surrogateescape")
)
STEMS = st.one_of(
    st.sampled_from(["a", "b", "x/a", "/abs/a", "../up", "./here", "x.y/a", "__m__", "", "a b"]),
    st.text(LETTERS, max_size=8),
    BAD_BYTES,
    st.integers(90, 400).map("long".__mul__),
)
EXTENSIONS = st.one_of(
    st.sampled_from(
        [".jpg", ".JPG", ".png", ".seg.png", ".json", ".txt", ".heic", ".avif", "", "."]
    ),
    st.text(LETTERS, max_size=5).map(".".__add__),
    BAD_BYTES.map(".".__add__),
    st.integers(0, 9999).map(".ext{}".format),
)
PAX = st.dictionaries(
    st.sampled_from(["path", "size", "mtime", "hdrcharset", "comment"])
    | st.sampled_from(["map", "size", "major", "minor", "name", "realsize"]).map(
        "GNU.sparse.{}".format
    ),
    st.sampled_from(["", "0", "1", "-1", "9" * 30, "0,1,1,5", "BINARY", "x.jpg", "é/x.png", "1.5"]),
    max_size=4,
)
KINDS = st.sampled_from([tarfile.REGTYPE] * 12 + [tarfile.AREGTYPE, tarfile.CONTTYPE]) | (
    st.sampled_from([b"1", b"2", b"3", b"4", b"5", b"6", b"Z"])
)
"""Mostly plain files; also hard and symbolic links, devices, folders, pipes and unknown types."""

PLAIN = st.builds(
    Member,
    name=st.tuples(STEMS, EXTENSIONS).map("".join),
    content=st.sampled_from([*IMAGES, *JSON, b"", b"words"]),
    kind=KINDS,
    is_pax=st.booleans(),
)
ODD = st.builds(
    Member,
    name=st.tuples(STEMS, EXTENSIONS).map("".join),
    content=st.sampled_from([*IMAGES, *JSON, b"1\n0\n1\n".ljust(600, b"\0")]),
    kind=KINDS | st.sampled_from([b"S", b"L", b"K", b"x", b"g", b"X"]),
    pax=PAX,
)
TIMED = st.builds(
    Member,
    name=st.tuples(STEMS, EXTENSIONS).map("".join),
    content=st.sampled_from([*IMAGES, *JSON, b""]),
    pax=st.dictionaries(
        st.sampled_from(["mtime", "atime", "ctime"]), st.sampled_from(["1.5", "1700000000.123"])
    ),
)
"""As webdataset's own writer has them, and GNU tar in its POSIX format."""

VALUES = st.one_of(
    st.binary(max_size=24),
    st.integers(-(1 << 80), 1 << 80).map(base_256),
    st.sampled_from([b"77777777777", b"-1", b"", b"\xff" * 12, b"x" * 155]),
)
EDITS = st.builds(Edit, st.integers(0, 3), st.sampled_from(sorted(FIELDS)), VALUES)


class Place:
    """A folder with one shard, and what annotating it left."""

    def __init__(self, folder: Path, tar: bytes) -> None:
        self.folder, self.out = folder, folder / "out"
        self.tar, self.annotation = folder / "0.tar", folder / "out" / "0.parquet"
        self.annotation.unlink(missing_ok=True)
        self.tar.write_bytes(tar)

    def annotate(self) -> list[dict[str, Any]] | None:
        """The rows, None where the shard was refused; the promise is checked on the way."""
        task = ShardTask(url=str(self.tar), shard="0.tar", annotation="0.parquet")
        with bounded(self.tar.read_bytes(), self.folder, MEBIBYTES):
            try:
                report = annotate(task, FakeScorer(), str(self.out), ThreadDecoder(1))
            except ShardError as error:
                str(error).encode()  # goes into a log and into _failed/
                assert not self.files() - {"0.tar"}
                count("refused")
                return None
        assert self.files() == {"0.tar", "out/0.parquet"}
        rows = pq.read_table(self.annotation).to_pylist()
        assert len(rows) == report.rows == read_footer(str(self.annotation)).report.rows
        assert [row["index"] for row in rows] == list(range(report.rows))
        assert all(row["error"] is None or row["error"] in list(ErrorCode) for row in rows)
        count("annotated")
        return rows

    def files(self) -> set[str]:
        ours = {"last-example", "hanging.txt"}
        paths = (path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix() for path in paths} - ours


def keys_by_webdataset(tar: bytes) -> list[str] | None:
    """The keys that webdataset's own grouping gives; None where it refuses what it reads.

    It does so with a repeated file, and takes a tar for gzip whose first name begins like that.
    """
    files = ({**file, "__url__": ""} for file in tar_file_iterator(io.BytesIO(tar)))  # pyright: ignore[reportArgumentType]
    try:
        return [str(sample["__key__"]) for sample in group_by_keys(files)]
    except (ValueError, tarfile.ReadError):
        return None


def printable(key: str) -> str:
    """Bytes that are no UTF-8 as `\\xff`, since Parquet has no other way to hold them."""
    return key.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def members_of(tar: bytes) -> list[tuple[str, int, int | None, bytes]] | str:
    """Name, size, place and content of all files, or the error that ends them."""
    try:
        members = read_members(io.BufferedReader(cast(Any, io.BytesIO(tar))), Counter())
        return [(m.name, m.size, m.offset, m.read()) for m in members if m.size < 1 << 24]
    except Exception as error:  # noqa: BLE001  # tarfile raises many
        return f"{type(error).__name__}: {error}"


def check_headers(tar: bytes) -> None:
    """Headers that are read without tarfile say the same as by it."""
    ours = members_of(tar)
    with mock.patch.object(tars, "_read_plain_header", return_value=None):
        assert ours == members_of(tar)


@examples(quick=60, long=4_000)
@given(
    members=st.lists(PLAIN | TIMED | ODD, min_size=1, max_size=5),
    edits=st.lists(EDITS, max_size=3),
    end=st.just(1.0) | st.floats(0, 1),
)
def test_plain_headers_are_read_as_tarfile_does(
    members: list[Member], edits: list[Edit], end: float
) -> None:
    tar = build(members, edits)
    check_headers(tar[: int(end * len(tar))])


@examples(quick=60, long=1_500)
@given(members=st.lists(PLAIN | TIMED, max_size=10))
def test_rows_are_the_samples_of_webdataset(members: list[Member], tmp_path: Path) -> None:
    tar = build(members)
    expected = keys_by_webdataset(tar) if members else []
    rows = Place(tmp_path, tar).annotate()
    assert rows is not None, "an undamaged tar is refused"
    if expected is None:
        count("webdataset refuses it")
        return
    assert [row["key"] for row in rows] == [printable(key) for key in expected]


@examples(quick=60, long=1_500)
@given(members=st.lists(PLAIN | ODD, min_size=1, max_size=5), edits=st.lists(EDITS, max_size=3))
def test_odd_headers(members: list[Member], edits: list[Edit], tmp_path: Path) -> None:
    place = Place(tmp_path, build(members, edits))
    rows = place.annotate()
    if rows is not None:
        assert len(rows) == sum(1 for _ in read_tar(str(place.tar)))


@examples(quick=60, long=1_500)
@given(
    members=st.lists(PLAIN | TIMED | ODD, max_size=4),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), max_size=4),
    end=st.just(1.0) | st.floats(0, 1),
    garbage=st.just(b"") | st.binary(max_size=1000) | st.sampled_from([END, END + b"x"]),
    is_gzipped=st.booleans(),
)
def test_damaged_tars(
    members: list[Member],
    flips: list[tuple[float, int]],
    end: float,
    garbage: bytes,
    is_gzipped: bool,
    tmp_path: Path,
) -> None:
    tar = bytearray(gzip.compress(build(members), mtime=0) if is_gzipped else build(members))
    for at, bit in flips:
        tar[int(at * len(tar))] ^= 1 << bit
    damaged = bytes(tar[: int(end * len(tar))]) + garbage
    Place(tmp_path, damaged).annotate()
    check_headers(damaged)


@examples(quick=20, long=500)
@given(data=st.binary(max_size=3000))
def test_random_bytes(data: bytes, tmp_path: Path) -> None:
    assume(data.strip(b"\0"))
    assert Place(tmp_path, data).annotate() is None


def test_thousands_of_extensions(tmp_path: Path) -> None:
    tar = build([Member(f"a.{number}") for number in range(5000)] + [Member("a.jpg", IMAGES[0])])
    rows = Place(tmp_path, tar).annotate()
    assert rows is not None
    assert [(row["key"], row["error"]) for row in rows] == [("a", None)]


@pytest.mark.skipif(not LONG, reason="make fuzz unpacks a gigabyte: 12 seconds")
def test_a_gzip_bomb_takes_no_memory(tmp_path: Path) -> None:
    """A megabyte that unpacks to a gigabyte, in a file that is no image."""
    tar = gzip.compress(build([Member("a.txt", bytes(1 << 30)), Member("a.jpg", IMAGES[0])]), 1)
    rows = Place(tmp_path, tar).annotate()
    assert rows is not None
    assert [(row["key"], row["error"]) for row in rows] == [("a", None)]


@pytest.mark.parametrize("mebibytes", [1, 16, 500, 4000])
def test_holes_do_not_fill_the_memory(mebibytes: int, tmp_path: Path) -> None:
    entries = [sparse(f"{number}.jpg", mebibytes << 20) for number in range(20)]
    rows = Place(tmp_path, b"".join(entries) + END).annotate()
    assert rows is not None
    expected = ErrorCode.TOO_LARGE if mebibytes > 16 else ErrorCode.UNSUPPORTED_FORMAT
    assert {row["error"] for row in rows} == {expected}


def pax_header(content: bytes) -> bytes:
    """An extended header of any content, and a file that it applies to."""
    return build([Member("p", content, b"0")], [Edit(0, "type", b"x")])[: -len(END)] + build(
        [Member("a.jpg", IMAGES[0])]
    )


@pytest.mark.parametrize(
    "tar",
    [
        unending_sparse("a.jpg"),
        build([Member("a.jpg", IMAGES[0])], [Edit(0, "size", base_256(-(1 << 80)))]),
        build([Member("a.jpg", IMAGES[0])], [Edit(0, "size", base_256(1 << 80))]),
        pax_header(b"2 " * (4 << 20) + b"="),  # tarfile looks from every second byte to the end
        pax_header(b"1" * (8 << 20)),
        pax_header(b"0 a=b\n"),
        pax_header(b"")[:-len(END)],
        b"".join(build([Member("p", b"", b"x")])[:512] for _ in range(3000)),
    ],
    ids=["map", "negative", "huge", "square", "digits", "empty record", "no end", "nested"],
)  # fmt: skip
def test_traps_of_tarfile_are_refused(tar: bytes, tmp_path: Path) -> None:
    started = perf_counter()
    assert Place(tmp_path, tar).annotate() is None
    assert perf_counter() - started < 20


@pytest.mark.parametrize("text", [b"2 " * (15 << 10) + b"=", b"1" * (31 << 10)])
def test_the_largest_extended_header_takes_seconds_at_most(text: bytes, tmp_path: Path) -> None:
    started = perf_counter()
    Place(tmp_path, pax_header(text)).annotate()
    assert perf_counter() - started < 20
