"""A faulty sample only loses its own score: its neighbours keep every bit of theirs.

Real tars, and the real scorer.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from shardsift import ScoreConfig, Scorer
from shardsift.annotations.annotate import annotate
from shardsift.errors import ShardError
from shardsift.records import ShardTask
from tests.fuzz.tars import BLOCK, END, Edit, Member, build, sparse
from tests.samples import encoded
from tests.shardsift.images.test_decode import png_header, saved

GOOD = [Member(f"good{n}.jpg", encoded(width=240 + 70 * n, seed=n)) for n in range(4)]
"""One to three patches each."""

JPEG = encoded(width=250, seed=9)
PNG = encoded("PNG")
MEGABYTES = 1 << 20

Row = tuple[str, str | None]
"""Key and error code of a sample."""


@dataclass(frozen=True)
class Shard:
    """Annotates tars, and reads the annotations."""

    folder: Path
    scorer: Scorer

    def rows(self, tar: bytes) -> list[dict[str, Any]]:
        (self.folder / "0.tar").write_bytes(tar)
        task = ShardTask(url=str(self.folder / "0.tar"), shard="0.tar", annotation="0.parquet")
        annotate(task, self.scorer, str(self.folder / "out"))
        return pq.read_table(self.folder / "out" / "0.parquet").to_pylist()


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer(ScoreConfig(model="compact", max_pixels=1_000_000))


@pytest.fixture
def shard(tmp_path: Path, scorer: Scorer) -> Shard:
    return Shard(tmp_path, scorer)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, scorer: Scorer) -> list[dict[str, Any]]:
    """The rows of the good samples in a shard of their own."""
    return Shard(tmp_path_factory.mktemp("good"), scorer).rows(build(GOOD))


def scores(row: dict[str, Any]) -> dict[str, Any]:
    """All columns except those with places in the tar."""
    return {name: row[name] for name in row if name not in ("index", "tar_offset")}


def named(name: str, content: bytes = JPEG, **fields: Any) -> bytes:
    """An entry of a tar."""
    return build([Member(name, content, **fields)])[: -len(END)]


def link(name: str, kind: bytes) -> bytes:
    """An entry that has no content, but points elsewhere."""
    return named(name, b"", kind=kind)


IMAGES: dict[str, tuple[bytes, str | None]] = {
    "no image": (named("b.txt", b"words"), "missing_image"),
    "an empty file": (named("b.jpg", b""), "truncated"),
    "a cut JPEG": (named("b.jpg", JPEG[:2000]), "truncated"),
    "a cut JPEG, closed again": (named("b.jpg", JPEG[:2000] + b"\xff\xd9"), "truncated"),
    "a cut PNG": (named("b.png", PNG[:2000]), "truncated"),
    "a damaged PNG": (
        named("b.png", PNG[:9000] + bytes(64) + PNG[9064:]),
        "decode_error",
    ),
    "words": (named("b.jpg", b"404 not found"), "unsupported_format"),
    "HEIC": (named("b.heic", b"\0\0\0\x18ftypheic"), "unsupported_format"),
    "float pixels": (
        named("b.tiff", saved(Image.new("F", (300, 300), 0.5), "TIFF")),
        "unsupported_format",
    ),
    "a bomb": (named("b.png", png_header(30_000, 30_000)), "too_large"),
    "many pixels": (named("b.png", encoded("PNG", 1001, 1000)), "too_large"),
    "a hole of 4 GB": (sparse("b.jpg", 4000 * MEGABYTES), "too_large"),
    "one pixel": (named("b.png", encoded("PNG", 1, 1)), None),
    "a name that lies": (named("b.jpg", PNG), None),
    "an upper-case extension": (named("b.JPG"), None),
    "AVIF": (named("b.avif", encoded("AVIF")), None),
    "a file with a hole": (sparse("b.jpg", len(JPEG) + 8192, JPEG), None),
    "a mask beside it": (named("b.mask.png", b"broken") + named("b.jpg"), None),
    "JSON that is none": (named("b.jpg") + named("b.json", b"{"), None),
    "a link beside it": (named("b.json", b"{}") + link("b.jpg", b"2"), "missing_image"),
}
"""Entries of sample `b`, and the code its row has."""

NAMES: dict[str, tuple[bytes, list[Row]]] = {
    "an absolute name": (named("/etc/b.jpg"), [("/etc/b", None)]),
    "a name that leads up": (named("../../b.jpg"), [("../../b", None)]),
    "unicode": (named("日本/ü.jpg"), [("日本/ü", None)]),
    "a name that is no UTF-8": (named("\udcff.jpg"), [("\\xff", None)]),
    "a long GNU name": (named("x" * 300 + ".jpg"), [("x" * 300, None)]),
    "a long pax name": (named("é" * 300 + ".jpg", is_pax=True), [("é" * 300, None)]),
    "a name in a pax record": (
        named("old.jpg", pax={"path": "new.jpg"}),
        [("new", None)],
    ),
    "no key": (named(".jpg") + named("README"), []),
    "an extension in a folder": (named("x/.jpg"), [("x/", None)]),
    "a hidden name": (named("x/__b__/b.jpg"), [("x/__b__/b", None)]),
    "a folder": (named("b/", b"", kind=b"5") + named("b/1.jpg"), [("b/1", None)]),
    "a symbolic link": (link("b.jpg", b"2"), []),
    "a hard link": (link("b.jpg", b"1"), []),
    "a pipe": (link("b.jpg", b"6"), []),
    "a repeated key": (named("b.jpg") + named("b.jpg"), [("b", None), ("b", None)]),
    "files that stand apart": (
        named("b.jpg") + named("c.jpg") + named("b.json", b"{}"),
        [("b", None), ("c", None), ("b", "missing_image")],
    ),
    "dots in names": (named("IMG.2020.jpg") + named("IMG.2021.jpg"), [("IMG", None)]),
    "many crops": (named("b.jpg", encoded(width=999, height=999)), [("b", None)]),
}
"""Entries of other samples, and the rows they have: as many as webdataset has samples."""

CASES = {name: (entry, [("b", code)]) for name, (entry, code) in IMAGES.items()} | NAMES


def test_a_tar_whose_first_name_begins_like_gzip_is_a_tar(shard: Shard) -> None:
    [row] = shard.rows(build([Member("\x1f\udc8b\x08.jpg", JPEG)]))
    assert (row["key"], row["error"]) == ("\x1f\\x8b\x08", None)


@pytest.mark.parametrize("case", CASES)
def test_an_odd_sample_has_its_row_and_its_neighbours_keep_every_bit(
    case: str, shard: Shard, expected: list[dict[str, Any]]
) -> None:
    entries, odd = CASES[case]
    rows = shard.rows(build(GOOD[:2])[: -len(END)] + entries + build(GOOD[2:]))
    assert [(row["key"], row["error"]) for row in rows[2:-2]] == odd
    assert [row["index"] for row in rows] == list(range(len(rows)))
    assert all((row["quality"] is None) == (row["error"] is not None) for row in rows)
    assert [scores(row) for row in rows[:2] + rows[-2:]] == [scores(row) for row in expected]


def test_a_gzipped_tar_has_the_same_rows_without_places(
    shard: Shard, expected: list[dict[str, Any]]
) -> None:
    rows = shard.rows(gzip.compress(build(GOOD)))
    assert [scores(row) for row in rows] == [scores(row) for row in expected]
    assert {row["tar_offset"] for row in rows} == {None}


def test_the_order_of_samples_changes_no_bit(shard: Shard, expected: list[dict[str, Any]]) -> None:
    rows = shard.rows(build(GOOD[::-1]))
    assert [scores(row) for row in rows[::-1]] == [scores(row) for row in expected]


TAR = build(GOOD)
THIRD = len(build(GOOD[:2])) - len(END)
"""Where the header of the third of four samples stands."""
GZIP = gzip.compress(TAR)
HTML = b"<!DOCTYPE html><html>503 Service Unavailable</html>"


@pytest.mark.parametrize(
    ("tar", "reason", "whole"),
    [
        (TAR[: THIRD + 2000], "unexpected end of data", 1),
        (TAR[:THIRD], "truncated: ends at byte .* without an end-of-archive marker", 1),
        (TAR[: THIRD + 100], "truncated: ends at byte .* without an end-of-archive marker", 1),
        (TAR[: -len(END)], "without an end-of-archive marker", 3),
        (TAR[:-BLOCK], "half of the end-of-archive marker is missing", 3),
        (TAR + b"more", "has data after its end-of-archive marker", 3),
        (build(GOOD, [Edit(2, "size", b"x" * 12)]), "damaged header at byte", 1),
        (HTML, "not a readable tar: begins with b'<!DOCTYPE html><html>503'", 0),
        (b"", "not a readable tar: is empty", 0),
        (bytes(BLOCK), "half of the end-of-archive marker is missing", 0),
        (GZIP[: len(GZIP) // 2], "Compressed file ended before the end-of-stream marker", 1),
        (GZIP[:-8] + b"????" + GZIP[-4:], "CRC check failed", 3),
        (GZIP[:20] + b"????" + GZIP[24:], "Error -3 while decompressing data", 0),
    ],
    ids=[
        *("in a file", "before a header", "in a header", "before the end", "in the end"),
        *("goes on", "damaged header", "html", "0 bytes", "half an end"),
        *("cut gzip", "gzip of other data", "damaged gzip"),
    ],
)  # fmt: skip
def test_a_shards_own_fault_names_the_shard_and_what_could_be_read(
    tar: bytes, reason: str, whole: int, shard: Shard
) -> None:
    with pytest.raises(
        ShardError, match=f"{reason}.*; whole samples before that: {whole}$"
    ) as caught:
        shard.rows(tar)
    assert caught.value.shard == "0.tar"
    assert not (shard.folder / "out").exists(), "nothing is committed"
