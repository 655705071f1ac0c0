"""`verify` reports every changed bit of every written file.

A few bits of each kind of file here; `make flips` takes 1,500 of each.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest

from shardsift.cli.app import main
from shardsift.cli.console import PlainConsole
from shardsift.cli.verbs.verify import run
from shardsift.config.verb_settings import VerifyConfig
from shardsift.errors import AnnotationError, UserError
from shardsift.outputs.compaction import compact
from tests.samples import as_parquet, as_pictures, write_shards
from tests.shardsift.annotations.asked import TEXT, ask_here, score_pictures
from tests.shardsift.resharding.corpora import Corpus, make_corpus, sample, score

FLIPS = int(os.environ.get("SHARDSIFT_TEST_FLIPS", "10"))
"""Flips in each kind of file, at the same random places every time."""

KINDS = {
    "scores": [
        *("00000.parquet", "_run.json", "_manifest.arrow", "_summary.json"),
        "_failed/00002.json",
    ],
    "few": ["annotations-00000.parquet", "_manifest.arrow", "_compacting.json"],
    "kept": ["keep-list/00000.parquet", "uids.npy", "_filter.json", "_summary.json"],
    "out": [
        *("00000000.tar", "00000000_stats.json", "_plan.parquet", "_reshard.json"),
        *("sizes.json", "meta.json", "_summary.json"),
    ],
    "rows/scores": ["00000.parquet", "_run.json"],
    "rows/out": ["data/00000000.parquet", "00000000_stats.json", "_plan.parquet"],
    "pictures/scores": ["00000/00000.parquet", "_run.json"],
    "pictures/kept": ["kept.txt", "_summary.json"],
    "pictures/out": ["00000000.tar", "00000000_stats.json"],
    "asking/out": ["_embeddings/maclip/0.npy", "0.parquet"],
    "answers": ["0.parquet", "_run.json", "_manifest.arrow", "_summary.json"],
}
"""Folders that verbs have written, and a file of each kind in them."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs of `score`, `compact`, `filter` and `reshard` for two shards and a broken one, for
    Parquet files and a folder of pictures, and what `ask` makes of a run with embeddings."""
    folder = tmp_path_factory.mktemp("written")
    shards = [[f for n in range(3) for f in sample(f"{s}{n}", 1 + 3 * s + n)] for s in range(2)]
    (folder / "in").mkdir()
    (folder / "in" / "00002.tar").write_bytes(b"no tar")
    corpus = make_corpus(folder, shards, keep_top=0.7, emit="keep-list,uids")
    corpus.reshard(samples_per_shard=3)
    compact(str(corpus.scores), str(folder / "few"))
    ask_here(score_pictures(folder / "asking"), folder / "answers", TEXT)
    tars = write_shards(folder / "plain", 2, 3)
    as_parquet(tars, folder / "rows" / "in")
    score(Corpus(folder / "rows"), keep_top=0.7).reshard(to="parquet")
    as_pictures(tars, folder / "pictures" / "in")
    score(Corpus(folder / "pictures"), keep_top=0.7, emit="keep-list,paths").reshard()
    return folder


def is_sound(output: Path) -> bool:
    try:
        return run(VerifyConfig(output=str(output)), PlainConsole(stderr=True)) == 0
    except (UserError, AnnotationError):
        return False


@pytest.mark.parametrize("folder", KINDS)
def test_what_nobody_has_touched_is_complete_and_consistent(
    folder: str, written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(written / folder)]) == 0
    assert "complete and consistent" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("folder", "name"), [(folder, name) for folder, names in KINDS.items() for name in names]
)
def test_a_flipped_bit_is_noticed(folder: str, name: str, written: Path) -> None:
    path = written / folder / name
    data = path.read_bytes()
    dice = random.Random(f"{folder}/{name}")
    unnoticed: list[int] = []
    try:
        for bit in (dice.randrange(8 * len(data)) for _ in range(FLIPS)):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            if is_sound(written / folder):
                unnoticed.append(bit)
    finally:
        path.write_bytes(data)
    sys.stdout.write(f"\n{folder}/{name}: {FLIPS} flips, {len(unnoticed)} unnoticed\n")
    assert unnoticed == []


READERS = {
    "scores/00000.parquet": [
        ["filter", "scores", "--keep-top", "0.5", "--dry-run"],
        ["report", "scores", "--output", "page"],
        ["compact", "scores", "--output", "new", "--overwrite"],
    ],
    "scores/_manifest.arrow": [["stats", "scores"], ["report", "scores", "--output", "page"]],
    "few/annotations-00000.parquet": [["filter", "few", "--keep-top", "0.5", "--dry-run"]],
    "few/_manifest.arrow": [["filter", "few", "--keep-top", "0.5", "--dry-run"]],
    "kept/keep-list/00000.parquet": [["reshard", "--keep", "kept", "--output", "n", "--dry-run"]],
    "out/_plan.parquet": [["reshard", "--keep", "kept", "--output", "out", "--dry-run"]],
}
"""Verbs that read a kind of file, and check of it what costs nothing."""

TWO_LINES = 791
"""A bit of a page's header, about whose damage Arrow says two lines."""


@pytest.mark.parametrize("name", READERS)
def test_a_flipped_bit_is_one_line_or_harmless_to_readers(
    name: str,
    written: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(written)
    path = written / name
    data = path.read_bytes()
    dice = random.Random(name)
    try:
        for bit in (TWO_LINES, *(dice.randrange(8 * len(data)) for _ in range(FLIPS))):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            for command in READERS[name]:
                code = main(command)
                told = [line for line in capsys.readouterr().err.splitlines() if ": " in line]
                assert code == 0 or (code == 2 and len(told) == 1), (bit, command, told)
    finally:
        path.write_bytes(data)
