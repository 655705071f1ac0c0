"""`--overwrite` and `--repair` delete what we wrote; files of others stay, behind links, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from shardsift import annotate_shards
from shardsift.cli.app import main
from shardsift.config import ScoreConfig
from shardsift.errors import OutputError
from shardsift.outputs.compaction import compact
from shardsift.records import FailedShard
from shardsift.storage.files import list_files
from tests.fakes import FakeScorer
from tests.shardsift.annotations.asked import BLURRY, TEXT, ask_here, score_pictures
from tests.shardsift.resharding.corpora import Corpus, plain_corpus

Verb = Callable[[Path], object]

FAILED = FailedShard(shard="00007.tar", url="/in/00007.tar", reason="cut", attempts=3).encode()

FILES: Mapping[str, bytes] = {
    "notes.txt": b"mine",
    "_failed/notes.json": b"{}",
    "_failed/deep/picture.jpg": b"pixels",
    "_failed/copy-of-00007.json": FAILED,
    "keep-list/mine.txt": b"words",
    "keep-list/mine.json": b"[]",
    "_embeddings/other.npy": b"numbers",
    "_probe-of-mine": b"a name of ours, nearly",
    "_0123456789abcdef.tmp.bak": b"kept",
    "sub/folder/mine.json": b"[1]",
    "meta.yaml": b"a: 1",
    "00000000_stats.csv": b"a,b",
}
"""Beside and below what verbs write."""

PARQUET = ["mine.parquet", "sub/mine.parquet", "keep-list/mine.parquet"]
"""That `**/*.parquet` would find."""

VICTIM = {"00007.json": FAILED, "0.parquet": b"rows", "picture.jpg": b"pixels", "a/b.txt": b"b"}
"""Files that links lead to."""


def outputs(folder: Path) -> Mapping[str, tuple[Path, Verb, Verb]]:
    """For each verb its output, the command, and a command that replaces it with other settings."""
    corpus = Corpus(folder)

    def score(alpha: float) -> object:
        scorer = FakeScorer()
        scorer.config = ScoreConfig(model="compact", max_pixels=1 << 20, alpha=alpha)
        scorer.fingerprint = f"fake-{alpha}"
        return annotate_shards(corpus.shards, scorer, folder / "scored", overwrite=alpha > 1)

    few, asked = folder / "few", folder / "asked"
    return {
        "score": (folder / "scored", lambda _: score(1), lambda _: score(2)),
        "filter": (
            corpus.kept,
            lambda _: corpus.filter(keep_top=0.5),
            lambda _: corpus.filter(keep_count=1),
        ),
        "reshard": (
            corpus.out,
            lambda _: corpus.reshard(),
            lambda _: corpus.reshard(samples_per_shard=2, overwrite=True),
        ),
        "compact": (
            few,
            lambda _: compact(str(corpus.scores), str(few)),
            lambda _: compact(str(corpus.scores), str(few), overwrite=True),
        ),
        "ask": (
            asked,
            lambda _: ask_here(folder / "asking" / "out", asked, TEXT),
            lambda _: ask_here(folder / "asking" / "out", asked, BLURRY, overwrite=True),
        ),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus that was scored and filtered, and one with embeddings."""
    folder = tmp_path_factory.mktemp("strangers")
    plain_corpus(folder, shards=2, samples=4)
    score_pictures(folder / "asking")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in list_files(str(folder))}


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def redo(again: Verb, output: Path) -> None:
    """Replace an output, and repair it; both may refuse."""
    with suppress(OutputError):
        again(output)
    main(["verify", str(output), "--repair"])


@pytest.mark.parametrize("verb", ["score", "filter", "reshard", "compact", "ask"])
def test_files_of_others_stay_as_they_are(verb: str, folder: Path) -> None:
    output, make, again = outputs(folder)[verb]
    make(output)
    write(output, FILES)
    redo(again, output)
    (output / "_summary.json").unlink(missing_ok=True)
    main(["verify", str(output), "--repair"])
    assert FILES.items() <= contents(output).items()
    for name in PARQUET:
        write(output, {name: b"rows of mine"})
        redo(again, output)
        assert (output / name).read_bytes() == b"rows of mine"
        (output / name).unlink()


@pytest.mark.parametrize("verb", ["score", "filter", "reshard", "compact", "ask"])
@pytest.mark.parametrize("place", ["_failed", "keep-list", "_embeddings", "sub", "_failed/deep"])
def test_links_are_never_followed_for_deleting(
    verb: str, place: str, folder: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    write(victim, VICTIM)
    output, make, again = outputs(folder)[verb]
    if not (output / "_summary.json").exists():
        redo(make, output)
    link = output / place
    if link.is_dir() and not link.is_symlink():
        link.rename(tmp_path / "moved")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(victim, target_is_directory=True)
    (output / "linked.parquet").symlink_to(victim / "0.parquet")
    redo(again, output)
    (output / "linked.parquet").unlink()
    redo(again, output)
    assert VICTIM.items() <= contents(victim).items()
    link.unlink()
    if (tmp_path / "moved").exists():
        (tmp_path / "moved").rename(link)
