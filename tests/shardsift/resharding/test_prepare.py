"""Inputs that don't belong together are refused before anything is written."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shardsift.errors import InputError, OutputError, UserError
from shardsift.resharding import prepare as module
from tests.fakes import FakeScorer
from tests.outputs import edit_json, edit_rows, write_run
from tests.samples import write_shards
from tests.shardsift.resharding.corpora import Corpus, plain_corpus


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return plain_corpus(tmp_path, shards=3, samples=4)


def everything_in(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def append(corpus: Corpus) -> None:
    with (corpus.shards / "00001.tar").open("ab") as file:
        file.write(bytes(10240))


def touch(corpus: Corpus) -> None:
    (corpus.shards / "00002.tar").touch()


def remove(corpus: Corpus) -> None:
    (corpus.shards / "00000.tar").unlink()


def score_anew(corpus: Corpus) -> None:
    scorer = FakeScorer()
    scorer.fingerprint = "another"
    shutil.rmtree(corpus.scores)
    write_run(corpus.shards, corpus.scores, scorer)


def forget_the_filter(corpus: Corpus) -> None:
    (corpus.kept / "_summary.json").unlink()


def forget_the_keep_list(corpus: Corpus) -> None:
    shutil.rmtree(corpus.kept / "keep-list")


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (append, "00001.tar: has changed since it was scored (size "),
        (touch, "00002.tar: has changed since it was scored (version "),
        (remove, "1 shards of the keep-list are missing: 00000.parquet"),
        (score_anew, "00000.parquet doesn't belong to the annotations that were filtered"),
        (forget_the_filter, "no finished filter here"),
        (forget_the_keep_list, "has no keep-list; filter with --emit keep-list"),
    ],
)
def test_what_doesnt_belong_together_is_one_line(
    harm: Callable[[Corpus], None], says: str, corpus: Corpus
) -> None:
    harm(corpus)
    before = everything_in(corpus.folder)
    with pytest.raises(InputError) as caught:
        corpus.prepare()
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert everything_in(corpus.folder) == before


def test_a_keep_list_of_another_corpus_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    other = write_shards(tmp_path / "other" / "photos", shards=9, samples=1)
    with pytest.raises(InputError, match=r"of other shards: it doesn't have 00003\.tar"):
        corpus.prepare(shards=[str(other)])


def test_a_corpus_that_has_moved_is_found_by_name(corpus: Corpus, tmp_path: Path) -> None:
    corpus.reshard(annotate_columns="none")
    before = {path.name: path.read_bytes() for path in corpus.out.glob("*.tar")}
    moved = corpus.shards.rename(tmp_path / "moved")
    scores = corpus.scores.rename(tmp_path / "moved-scores")
    for path in moved.iterdir():
        path.touch()
    corpus.reshard(
        shards=[str(moved)],
        annotations=str(scores),
        annotate_columns="none",
        output=str(corpus.out) + "2",
    )
    again = {path.name: path.read_bytes() for path in Path(f"{corpus.out}2").glob("*.tar")}
    assert again == before != {}


def test_a_shard_that_was_never_scored_is_told(corpus: Corpus) -> None:
    (corpus.shards / "00003.tar").write_bytes(b"no tar")
    edit_json(corpus.kept / "_summary.json", failed_shards=["00003.tar"])
    assert corpus.prepare().missing == ["00003.tar"]


def test_shards_that_arent_where_they_were_have_to_be_named(corpus: Corpus) -> None:
    corpus.shards.rename(corpus.folder / "elsewhere")
    with pytest.raises(
        InputError, match="no such file or folder; if they have moved, name their folder"
    ):
        corpus.prepare()


@pytest.mark.parametrize("place", ["in", "scores", "scores/clean"])
def test_an_output_among_inputs_is_refused(place: str, corpus: Corpus) -> None:
    before = everything_in(corpus.folder)
    with pytest.raises(OutputError, match="choose another --output"):
        corpus.prepare(output=str(corpus.folder / place))
    assert everything_in(corpus.folder) == before


def test_a_disk_without_room_is_told(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    free = shutil.disk_usage(corpus.folder)._replace(free=1000)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: free)  # pyright: ignore
    with pytest.raises(OutputError, match=r"take about .* MB are free there; make room"):
        corpus.prepare()


# --- going on ------------------------------------------------------------------------------------


def tars(corpus: Corpus) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in corpus.out.glob("*.tar")}


def test_a_run_goes_on_with_the_plan_that_was_saved(corpus: Corpus) -> None:
    corpus.reshard(samples_per_shard=2)
    before = tars(corpus)
    for name in ("00000001.tar", "00000002_stats.json", "sizes.json", "_summary.json"):
        (corpus.out / name).unlink()
    reports = corpus.reshard(samples_per_shard=2)
    assert [report.shard for report in reports] == ["00000001.tar", "00000002.tar"]
    assert tars(corpus) == before
    assert json.loads((corpus.out / "sizes.json").read_text()) == dict.fromkeys(sorted(before), 2)
    stats = json.loads((corpus.out / "00000002_stats.json").read_text())
    assert (stats["count"], stats["successes"]) == (2, 2)


def test_a_tar_that_isnt_whole_any_more_is_written_again(corpus: Corpus) -> None:
    corpus.reshard(samples_per_shard=2)
    before = tars(corpus)
    (corpus.out / "00000001.tar").write_bytes(before["00000001.tar"][:-5120])
    reports = corpus.reshard(samples_per_shard=2)
    assert [report.shard for report in reports] == ["00000001.tar"]
    assert tars(corpus) == before


def test_a_plan_of_others_or_with_rows_less_is_refused(corpus: Corpus) -> None:
    corpus.reshard(samples_per_shard=2)
    plan = corpus.out / "_plan.parquet"
    edit_rows(plan, lambda rows: rows.pop())
    with pytest.raises(OutputError, match="it doesn't match the record"):
        corpus.prepare(samples_per_shard=2)
    assert corpus.prepare(samples_per_shard=2, overwrite=True).plan.samples == 6


def test_a_tar_that_the_plan_doesnt_know_is_told(corpus: Corpus) -> None:
    corpus.reshard(samples_per_shard=2)
    shutil.copy(corpus.out / "00000000.tar", corpus.out / "00000077.tar")
    with pytest.raises(
        OutputError, match=r"holds 00000077\.tar, which no `reshard` has recorded here"
    ):
        corpus.prepare(samples_per_shard=2)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"samples_per_shard": 5}, "samples_per_shard: 2 there, 5 here"),
        ({"annotate_columns": "none"}, "columns: ('quality', 'q_sim', 'q_mag') there, () here"),
        ({"keep_top": 0.25}, "the keep-list differs"),
    ],
)
def test_another_plan_is_refused_unless_it_may_overwrite(
    settings: dict[str, float], says: str, corpus: Corpus
) -> None:
    corpus.reshard(samples_per_shard=2)
    before = tars(corpus)
    if "keep_top" in settings:
        corpus.filter(**settings)
        settings = {}
    with pytest.raises(UserError, match=re.escape(says)):
        corpus.reshard(**({"samples_per_shard": 2} | settings))
    assert tars(corpus) == before
    corpus.reshard(**settings, overwrite=True)
    assert tars(corpus).keys() == json.loads((corpus.out / "sizes.json").read_text()).keys()
    assert sum(json.loads((corpus.out / "sizes.json").read_text()).values()) == len(
        corpus.kept_keys()
    )


def test_tars_of_others_are_left_alone(corpus: Corpus) -> None:
    corpus.reshard()
    mine = corpus.out / "deep" / "mine.tar"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    for harm in (lambda: None, (corpus.out / "_reshard.json").unlink):
        harm()
        for overwrite in (False, True):
            with pytest.raises(OutputError, match="which no `reshard` has recorded here"):
                corpus.prepare(overwrite=overwrite)
    assert mine.read_bytes() == b"mine"


def test_a_run_goes_on_though_its_sources_have_moved(corpus: Corpus, tmp_path: Path) -> None:
    corpus.reshard(samples_per_shard=2)
    before = tars(corpus)
    (corpus.out / "00000001.tar").unlink()
    moved = corpus.shards.rename(tmp_path / "moved")
    corpus.reshard(samples_per_shard=2, shards=[str(moved)])
    assert tars(corpus) == before
