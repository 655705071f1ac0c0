"""What is told of all samples of a piece at once is what stands there, file by file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pytest

from shardsift.reshard.headers import TarPiece
from shardsift.reshard.match import match
from shardsift.reshard.pieces import read_pieces
from shardsift.reshard.rows import CUES, KeptRow, kept_rows
from shardsift.reshard.samples import RawSample, find_files, raw_sample
from shardsift.shards.samples import read_samples
from shardsift.storage.ranges import open_ranges
from tests.fuzz.tars import Member, build
from tests.shardsift.reshard.corpora import sample

KEYS = ["a", "b", "c"] * 5 + ["x/a", "x.y/a", "__a", "é", "k" * 94]
EXTENSIONS = [".json", ".txt", ".cls"] * 5 + [".JPG", ".png", ".Json", ".b__"]
KEYLESS = ["README", "__m__/a.txt", "x/", "."]
DECOYS = [build([Member("a.txt", b"inner")]), build([Member("a.json", b"{}")])[: 2 * 512]]
CONTENTS = [b"", b"{}", b"x" * 512, b"y" * 700] * 8 + DECOYS


def random_tar(random: Random) -> bytes:
    """Samples with images, some of which have the key of the one before; other files in some."""
    members: list[Member] = []
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
            members.append(Member(name, random.choice(CONTENTS), is_pax=is_pax))
    return build(members)


def rows_of(path: Path, kept: Sequence[bool]) -> list[KeptRow]:
    """The rows of a shard, as annotations have them, that are kept and whose image has a place."""
    found = list(read_samples(str(path)))
    images = [sample.image for sample in found]
    table = pa.table(
        {
            "key": [sample.key for sample in found],
            "tar_offset": pa.array([image and image.offset for image in images], pa.int64()),
            "tar_size": pa.array(
                [image and len(image.data or b"") for image in images], pa.int64()
            ),
            **{cue: pa.array([0.5] * len(found), pa.float32()) for cue in CUES},
        }
    )
    wanted = [n for n, image in enumerate(images) if image and kept[n]]
    return kept_rows(table, np.array(wanted, np.int32), path.stat().st_size) if wanted else []


def matched(
    path: Path, rows: Sequence[KeptRow], *, gap: int = 0, in_piece: int = 2
) -> Iterator[tuple[RawSample | None, RawSample]]:
    """Each row's sample, as it is told at once, and as it is found file by file."""
    shard = path.read_bytes()
    with open_ranges(str(path)) as ranges:
        assert ranges is not None
        for piece in read_pieces(replace(ranges, gap=gap, in_piece=in_piece), rows):
            tar = TarPiece(piece.data)
            samples = match(piece, tar.plain_files())
            for (row, shift), told in zip(piece.rows, samples, strict=True):
                files = find_files(tar, row, row.begin - shift, shift)
                found = raw_sample(piece.data, row, files)
                for begin, end in found.spans:
                    assert piece.data[begin:end] == shard[begin + shift : end + shift]
                yield told, found


def test_what_is_told_is_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "0.tar"
    layouts = {"gap": [0, 4096], "in_piece": [1, 2, 9]}
    at_once = one_by_one = 0
    for seed in range(300):
        random = Random(seed)
        path.write_bytes(random_tar(random))
        rows = rows_of(path, random.choices([True, False], k=40))
        layout = {name: random.choice(values) for name, values in layouts.items()}
        for told, found in matched(path, rows, **layout):
            assert told in (None, found), f"seed {seed}"
            at_once += told is not None
            one_by_one += told is None
    assert min(at_once, one_by_one) > 100, "both have to occur"


@pytest.mark.parametrize("every", [1, 3])
def test_ordinary_samples_are_told_at_once(every: int, tmp_path: Path) -> None:
    """But for the last one, behind which no image tells where it ends."""
    path = tmp_path / "0.tar"
    files = [file for n in range(30) for file in sample(f"{n:04}", n)]
    path.write_bytes(build([Member(name, content) for name, content in files]))
    kept = [n % every == 0 for n in range(30)]
    told = [sample is not None for sample, _ in matched(path, rows_of(path, kept))]
    assert told == [n < 29 for n in range(30) if kept[n]]
