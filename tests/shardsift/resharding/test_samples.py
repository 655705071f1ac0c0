"""Samples are found in a piece of a shard as in the whole of it."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa

from shardsift.errors import ShardError
from shardsift.resharding.source import KeptRow, by_key, find_files, kept_rows, read_pieces
from shardsift.shards.tar_samples import read_tar
from shardsift.shards.tars import Member, members_in
from shardsift.storage.files import open_ranges
from tests.fuzz import tars

KEYS = ["a", "b", "c"] * 5 + ["x/a", "x.y/a", "__a", "é", "k" * 94]
EXTENSIONS = [".json", ".txt", ".cls"] * 5 + [".JPG", ".png", ".Json", ".b__"]
KEYLESS = ["README", "__m__/a.txt", "x/", "."]
DECOYS = [
    tars.build([tars.Member("a.txt", b"inner")]),
    tars.build([tars.Member("a.json", b"{}")])[: 2 * 512],
]
CONTENTS = [b"", b"{}", b"x" * 512, b"y" * 700] * 8 + DECOYS


def random_tar(random: Random) -> bytes:
    """Samples with images, some of which have the key of the one before; other files in some."""
    members: list[tars.Member] = []
    is_odd = random.random() < 0.5
    key = "first"
    for number in range(random.randint(3, 8)):
        if random.random() < 0.9:
            key = f"{random.choice(KEYS)}{number}"
        extensions = random.sample(EXTENSIONS, random.randint(0, 3))
        extensions.insert(random.randint(0, len(extensions)), ".jpg")
        names = [key + extension for extension in extensions]
        if is_odd and random.random() < 0.2:
            names.insert(random.randint(0, len(names)), random.choice(KEYLESS))
        for name in names:
            is_pax = is_odd and random.random() < 0.1
            members.append(tars.Member(name, random.choice(CONTENTS), is_pax=is_pax))
    return tars.build(members)


def rows_of(path: Path, kept: Sequence[bool]) -> list[KeptRow]:
    """The rows of a shard, as annotations have them, that are kept and whose image has a place."""
    found = list(read_tar(str(path)))
    images = [sample.image for sample in found]
    table = pa.table(
        {
            "key": [sample.key for sample in found],
            "tar_offset": pa.array([image and image.offset for image in images], pa.int64()),
            "tar_size": pa.array(
                [image and len(image.data or b"") for image in images], pa.int64()
            ),
            "image_ext": pa.nulls(len(images), pa.string()),
            "sha256": pa.nulls(len(images), pa.binary(32)),
            "error": pa.array([None if image else "missing_image" for image in images]),
        }
    )
    wanted = [n for n, image in enumerate(images) if image and kept[n]]
    return kept_rows(table, np.array(wanted, np.int32), path.stat().st_size) if wanted else []


def bytes_of(data: memoryview, files: Mapping[str, Member]) -> list[bytes]:
    """A sample's files with their headers, one behind the other."""
    return [bytes(data[file.begin : file.end]) for file in files.values()]


def test_a_sample_in_a_piece_is_the_sample_in_the_shard(tmp_path: Path) -> None:
    path = tmp_path / "0.tar"
    layouts = {"gap": [0, 4096], "in_piece": [1, 2, 9]}
    for seed in range(300):
        random = Random(seed)
        path.write_bytes(random_tar(random))
        shard = memoryview(path.read_bytes())
        whole = list(by_key(members_in(io.BytesIO(shard), 0, len(shard))))
        rows = rows_of(path, random.choices([True, False], k=40))
        layout = {name: random.choice(values) for name, values in layouts.items()}
        with open_ranges(str(path)) as ranges:
            assert ranges is not None
            for piece in read_pieces(replace(ranges, **layout), rows):
                for row, shift in piece.rows:
                    key, expected = whole[row.index]
                    found = find_files(io.BytesIO(piece.data), row, row.begin - shift, shift)
                    assert key == row.key
                    assert found.keys() == expected.keys(), f"seed {seed}"
                    assert bytes_of(piece.data, found) == bytes_of(shard, expected)


NAMES = [
    *("a.jpg", "a.JSON", "b/c.d/e.jpg", "./x.jpg", "/abs/z.png", "caf\udce9.jpg", "Ä.JPG"),
    *("é" * 60 + ".jpg", "k" * 99 + ".jpg", "d/" * 70 + "f.jpg", "__m__/a.jpg", ".h.jpg"),
    *("noext", "u.jpg/"),
]
KINDS = [
    *(tarfile.REGTYPE, tarfile.REGTYPE, tarfile.REGTYPE, tarfile.REGTYPE, tarfile.REGTYPE),
    *(tarfile.AREGTYPE, tarfile.CONTTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE),
]
FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def odd_tar(random: Random) -> bytes:
    """Members of all kinds, formats and names."""
    content = io.BytesIO()
    kind = random.choice(FORMATS)
    with tarfile.open(fileobj=content, mode="w", format=kind, errors="surrogateescape") as tar:
        for _ in range(random.randint(1, 6)):
            member = tarfile.TarInfo(random.choice(NAMES))
            member.type = random.choice(KINDS)
            member.size = random.choice([0, 1, 511, 512, 700]) if member.isreg() else 0
            if random.random() < 0.2:
                member.pax_headers = {"path": random.choice(NAMES), "comment": "odd"}
            with suppress(ValueError):  # a name that the format has no room or no letters for
                tar.addfile(member, io.BytesIO(b"q" * member.size))
    return content.getvalue()


def test_samples_are_those_that_were_scored_whatever_the_tar_is_like(tmp_path: Path) -> None:
    path = tmp_path / "0.tar"
    refused = 0
    for seed in range(600):
        data = odd_tar(Random(seed))
        path.write_bytes(data)
        try:
            scored = list(read_tar(str(path)))
        except ShardError:
            refused += 1
            continue
        found = list(by_key(members_in(io.BytesIO(data), 0, len(data))))
        assert [key for key, _ in found] == [sample.key for sample in scored], seed
        for sample, (_, files) in zip(scored, found, strict=True):
            if sample.image:
                assert sample.image.offset in [file.data for file in files.values()], seed
    assert refused < 60
