"""`reshard` as people type it, on Ray: its tars, as other tools read them, and its output."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from open_clip_train.data import get_dataset_size
from webdataset.compat import WebDataset

from shardsift.cli.app import main
from tests.shardsift.resharding.corpora import Corpus, files_of, plain_corpus

pytestmark = pytest.mark.usefixtures("local_ray")


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """18 samples in 3 shards, of which 9 are kept."""
    return plain_corpus(tmp_path)


def reshard(corpus: Corpus, *flags: str) -> int:
    command = ["reshard", "--keep", str(corpus.kept), "--output", str(corpus.out)]
    return main([*command, "--samples-per-shard", "4", "--actors", "2", *flags])


def test_everybody_reads_the_new_tars(corpus: Corpus) -> None:
    assert reshard(corpus) == 0
    tars = sorted(corpus.out.glob("*.tar"))
    assert [path.name for path in tars] == [f"{number:08}.tar" for number in range(3)]
    keys = corpus.kept_keys()
    dataset = WebDataset([str(path) for path in tars], shardshuffle=False)
    seen = [(sample["__key__"], sorted(sample)) for sample in dataset]
    fields = ["__key__", "__local_path__", "__url__", "jpg", "json", "txt"]
    assert seen == [(key, fields) for key in keys]
    for path in tars:
        gnu = subprocess.run(["tar", "tf", path], capture_output=True, text=True, check=True)
        assert gnu.stdout.split() == [name for name, _ in files_of(path)]


def test_trainers_find_the_counts_they_look_for(corpus: Corpus) -> None:
    assert reshard(corpus) == 0
    last = max(corpus.out.glob("*.tar")).stem
    assert get_dataset_size(f"{corpus.out}/{{00000000..{last}}}.tar") == (9, 3)
    assert sum(json.loads((corpus.out / "sizes.json").read_text()).values()) == 9
    meta = json.loads((corpus.out / "meta.json").read_text())
    names = [meta["output_shard_format"].format(n) for n in range(meta["output_shard_count"])]
    assert names == sorted(path.name for path in corpus.out.glob("*.tar"))
    for path in corpus.out.glob("*.tar"):
        stats = json.loads((corpus.out / f"{path.stem}_stats.json").read_text())
        assert stats["successes"] == len({name.split(".")[0] for name, _ in files_of(path)})


def test_a_second_run_has_nothing_to_do(corpus: Corpus, capsys: pytest.CaptureFixture[str]) -> None:
    assert reshard(corpus) == 0
    assert "wrote 3 shards: 9 samples" in capsys.readouterr().err
    before = {path: path.stat().st_mtime_ns for path in corpus.out.iterdir()}
    assert reshard(corpus) == 0
    assert "nothing to do: 9 samples in 3 shards are in" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in corpus.out.iterdir()} == before


def test_a_tar_that_fails_is_recorded_and_tried_again(
    corpus: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    """The source is damaged where only reading its samples tells."""
    elsewhere = corpus.shards.rename(corpus.folder / "elsewhere")
    source = elsewhere / "00002.tar"
    whole = source.read_bytes()
    source.write_bytes(bytes(len(whole)))
    assert reshard(corpus, str(elsewhere)) == 1
    said = capsys.readouterr().err
    assert "failed 00000002.tar: 00002.tar: " in said
    assert "run the same command to try them again" in said
    record = json.loads((corpus.out / "_failed" / "00000002.json").read_text())
    assert record["attempts"] == 3
    assert not (corpus.out / "sizes.json").exists()
    source.write_bytes(whole)
    assert reshard(corpus, str(elsewhere)) == 0
    assert not (corpus.out / "_failed").exists(), "DataComp's trainer looks into every folder"
    assert (corpus.out / "sizes.json").exists()


def test_a_dry_run_plans_and_writes_nothing(
    corpus: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reshard(corpus, "--dry-run") == 0
    assert "dry run: would write 9 samples in 3 shards, about " in capsys.readouterr().err
    assert not corpus.out.exists() or not list(corpus.out.iterdir())


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--keep", "/nowhere"], "no finished filter here"),
        (["--bytes-per-shard", "lots"], "--bytes-per-shard lots: is no size"),
        (["--actors", "99"], "the cluster holds 4"),
        (["--kepe", "x"], "did you mean --keep?"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    flags: list[str], says: str, corpus: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reshard(corpus, *flags) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not corpus.out.exists() or not list(corpus.out.iterdir())
