"""Answers from embeddings: their rows, refusals, and filters that use them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pytest

from shardsift import ScoreConfig, Scorer, annotate_shards
from shardsift.cli.app import main
from shardsift.config.verb_settings import AskConfig
from shardsift.errors import ConfigError, InputError, OutputError, ShardError, UserError
from shardsift.outputs.compaction import compact
from shardsift.runs.ask_run import prepare
from tests.conftest import Golden
from tests.fakes import FakeScorer
from tests.outputs import annotation_files, edit_footer, edit_json, edit_rows
from tests.samples import write_tar
from tests.shardsift.annotations.asked import (
    BLURRY,
    TEXT,
    ask_here,
    files,
    rows_of,
    score_again,
    score_pictures,
)


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return score_pictures(tmp_path_factory.mktemp("scored"))


@pytest.fixture
def scores(scored: Path, tmp_path: Path) -> Path:
    return shutil.copytree(scored, tmp_path / "scores")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "answers"


def test_a_filter_goes_by_them(scores: Path, out: Path, tmp_path: Path) -> None:
    """Row by row as DuckDB joins them, though a key comes twice in each shard."""
    ask_here(scores, out, TEXT)
    command = ["filter", str(scores), "--output", str(tmp_path / "kept"), "--keep-count", "4"]
    assert main([*command, "--by", "attr_text", "--with", str(out)]) == 0
    rows = f"SELECT shard, \"index\" FROM '{tmp_path}/kept/keep-list/**/*.parquet' ORDER BY ALL"
    kept = duckdb.execute(rows).fetchall()
    rows = f"SELECT shard, \"index\" FROM '{out}/**/*.parquet' WHERE attr_text IS NOT NULL"
    best = duckdb.execute(f"{rows} ORDER BY attr_text DESC LIMIT 4").fetchall()
    assert kept == sorted(best)


def test_a_second_ask_goes_on_where_the_first_one_stopped(scores: Path, out: Path) -> None:
    ask_here(scores, out, TEXT)
    whole = annotation_files(out)
    (out / "more" / "2.parquet").unlink()
    (out / "_summary.json").unlink()
    kept = (out / "0.parquet").stat().st_ino
    ask_here(scores, out, TEXT)
    assert annotation_files(out) == whole
    assert (out / "0.parquet").stat().st_ino == kept


def test_other_questions_are_refused_or_replace_the_first(scores: Path, out: Path) -> None:
    ask_here(scores, out, TEXT)
    before = annotation_files(out)
    with pytest.raises(OutputError, match=r"with other attributes \(blurry: .*; text: "):
        ask_here(scores, out, BLURRY)
    assert annotation_files(out) == before
    ask_here(scores, out, BLURRY, overwrite=True)
    assert "attr_blurry" in rows_of(out)[0]


def test_a_shard_that_was_scored_again_is_asked_again_alone(tmp_path: Path, out: Path) -> None:
    scores = score_pictures(tmp_path)
    ask_here(scores, out, TEXT)
    kept = {name: (out / name).stat().st_ino for name in annotation_files(out)}
    write_tar(tmp_path / "in" / "0.tar", files(0)[::-1])
    (scores / "0.parquet").unlink()
    score_again(tmp_path)
    ask_here(scores, out, TEXT)
    changed = {name for name, inode in kept.items() if (out / name).stat().st_ino != inode}
    assert changed == {"0.parquet"}
    assert main(["verify", str(out)]) == 0


def test_what_cannot_be_asked_is_one_line(
    scores: Path, out: Path, golden: Golden, tmp_path: Path
) -> None:
    write_tar(tmp_path / "in" / "0.tar", files(0))
    annotate_shards(tmp_path / "in", FakeScorer(), tmp_path / "plain")
    compact(str(scores), str(tmp_path / "few"))
    others: dict[str, object] = {
        "model": golden.config.model,
        "pretrained": golden.config.pretrained,
    }
    cases: list[tuple[Path, dict[str, object], type[UserError], str]] = [
        (scores, {"attribute": ()}, ConfigError, "no question; pass --attribute"),
        (scores, {"output": None}, ConfigError, "no --output"),
        (tmp_path / "plain", {}, InputError, "no embeddings of maclip; score with --embeddings"),
        (tmp_path / "few", {}, InputError, "compacted annotations, without embeddings"),
        (tmp_path / "in", {}, InputError, "no annotations here"),
        (scores, others, ConfigError, "these are not the weights that made"),
        (scores, {"output": str(scores / "a")}, OutputError, "lies in the annotations"),
        (
            scores,
            {"output": str(tmp_path / "plain")},
            OutputError,
            "holds annotations made of pictures",
        ),
    ]
    for folder, settings, kind, says in cases:
        values = {"annotations": str(folder), "output": str(out), "attribute": [TEXT]}
        with pytest.raises(kind, match=says) as error:
            prepare(AskConfig.model_validate(values | settings))
        assert "\n" not in str(error.value)
    assert not list(out.rglob("*"))


def test_embeddings_that_are_not_those_of_their_annotation_are_an_error(
    scores: Path, out: Path
) -> None:
    path = scores / "_embeddings" / "maclip" / "0.npy"
    np.save(path, np.zeros((4, 256), np.float16))
    with pytest.raises(ShardError, match=r"0\.tar: .*3 rows have a score, but fewer"):
        ask_here(scores, out, TEXT)
    path.unlink()
    with pytest.raises(
        ShardError, match=r"0\.tar: _embeddings/maclip/0\.npy can't be read: No such file"
    ):
        ask_here(scores, out, TEXT)
    shutil.copy(scores / "1.parquet", scores / "0.parquet")
    with pytest.raises(Exception, match=r"0\.parquet: is the annotation of 1\.tar"):
        ask_here(scores, out, TEXT)


def test_a_shard_without_samples_has_no_answers(tmp_path: Path, out: Path) -> None:
    write_tar(tmp_path / "in" / "0.tar", [])
    scorer = Scorer(ScoreConfig(model="compact", crops="global"), embeddings=True)
    annotate_shards(tmp_path / "in", scorer, tmp_path / "empty")
    summary = ask_here(tmp_path / "empty", out, TEXT)
    assert (summary.rows, summary.means) == (0, {})
    assert main(["verify", str(out)]) == 0


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


HARMS: list[tuple[Callable[[Path], object], str]] = [
    (lambda out: (out / "0.parquet").unlink(), "0.tar: has neither an annotation nor a record"),
    (lambda out: flip(out / "0.parquet", 40), "0.tar: the rows of its annotation are damaged"),
    (
        lambda out: shutil.copy(out / "1.parquet", out / "0.parquet"),
        "0.tar: its annotation is that",
    ),
    (
        lambda out: shutil.copy(out / "1.parquet", out / "9.parquet"),
        "9.parquet: belongs to no shard",
    ),
    (
        lambda out: edit_rows(out / "0.parquet", lambda rows: rows[0].update(attr_text=0.5)),
        "0.tar: the sums of columns in its footer don't match its rows",
    ),
    (lambda out: edit_footer(out / "0.parquet", rows="5"), "its annotation has 4 rows, its footer"),
    (lambda out: edit_footer(out / "0.parquet", measures="{}"), "was made with other attributes"),
    (
        lambda out: edit_footer(out / "0.parquet", sources='{"maclip": "0"}'),
        "0.tar: its annotations or embeddings were written again since it was answered",
    ),
    (
        lambda out: edit_footer(out / "0.parquet", rows_digest="0"),
        "0.tar: its annotations or embeddings were written again since it was answered",
    ),
    (lambda out: edit_json(out / "_summary.json", rows=11), "disagrees with the manifest: rows"),
    (lambda out: (out / "_summary.json").write_text("{"), "_summary.json: not JSON"),
]


@pytest.fixture(scope="module")
def answered(scored: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("answered") / "out"
    ask_here(scored, out, TEXT)
    return out


@pytest.mark.parametrize(("harm", "says"), HARMS)
def test_verify_finds_what_is_wrong_with_answers(
    harm: Callable[[Path], object],
    says: str,
    answered: Path,
    out: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(answered, out)
    harm(out)
    assert main(["verify", str(out)]) == 1
    assert says in capsys.readouterr().out


def test_a_repair_makes_room_for_the_same_ask(scored: Path, answered: Path, out: Path) -> None:
    shutil.copytree(answered, out)
    flip(out / "0.parquet", 40)
    assert main(["verify", str(out), "--repair"]) == 1
    assert not (out / "0.parquet").exists()
    ask_here(scored, out, TEXT)
    assert annotation_files(out) == annotation_files(answered)
    assert main(["verify", str(out)]) == 0
