"""Columns of another output stand row for row beside annotations, or are refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from shardsift.cli.app import main
from shardsift.outputs.totals import read_stats
from shardsift.reporting.comparison import compare_pairs, pair_up
from tests.conftest import SHARED
from tests.outputs import edit_footer, kept_rows
from tests.shardsift.annotations.asked import (
    BLURRY,
    TEXT,
    ask_here,
    rows_of,
    score_again,
    score_pictures,
)

STALE = SHARED / "faults" / "stale" / "make.py"


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores of three shards in `out`, with an attribute, and answers to both questions."""
    folder = tmp_path_factory.mktemp("answered")
    ask_here(score_pictures(folder), folder / "answers", BLURRY, TEXT)
    return folder


def filter_of(folder: Path, kept: Path, *rule: str) -> int:
    return main(["filter", str(folder / "out"), "--output", str(kept), "--keep-top", "1", *rule])


def test_any_of_its_columns_decides(answered: Path, tmp_path: Path) -> None:
    rule = "other.attr_text > 0.3 AND attr_text > 0 AND q_sim > 0"
    assert (
        filter_of(answered, tmp_path / "k", "--with", str(answered / "answers"), "--where", rule)
        == 0
    )
    expected = {
        (row["shard"], row["index"])
        for row in rows_of(answered / "answers")
        if row["attr_text"] is not None and row["attr_text"] > 0.3
    }
    assert expected
    assert kept_rows(tmp_path / "k") == expected
    assert main(["verify", str(tmp_path / "k")]) == 0


def test_of_a_name_that_both_have_the_annotations_own_is_meant(
    answered: Path, tmp_path: Path
) -> None:
    beside = ["--with", f"{answered / 'answers'} AS late"]
    rule = "attr_blurry != late.attr_blurry"
    assert filter_of(answered, tmp_path / "k", *beside, "--where", rule) == 0
    pairs = zip(rows_of(answered / "out"), rows_of(answered / "answers"), strict=True)
    differing = {
        (own["shard"], own["index"])
        for own, other in pairs
        if own["attr_blurry"] is not None and own["attr_blurry"] != other["attr_blurry"]
    }
    assert kept_rows(tmp_path / "k") == differing


def test_an_output_is_no_table_to_join(
    answered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in ("answers", "answers/0.parquet"):
        join = ["--join", str(answered / place), "--by", "attr_text"]
        assert filter_of(answered, tmp_path / "k", *join) == 2
        assert "pass its folder to --with" in capsys.readouterr().err
    assert main(["filter", str(answered / "answers"), "--keep-top", "1", "--dry-run"]) == 2
    assert "has answers and no scores" in capsys.readouterr().err


def test_a_shard_that_it_lacks_is_an_error_or_null(
    answered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = shutil.copytree(answered / "answers", tmp_path / "answers")
    (answers / "1.parquet").unlink()
    rule = ["--with", str(answers), "--where", "attr_text IS NULL"]
    assert filter_of(answered, tmp_path / "k", *rule) == 2
    assert "has no file for 1.tar" in capsys.readouterr().err
    assert filter_of(answered, tmp_path / "k", *rule, "--allow-missing") == 0
    assert {shard for shard, _ in kept_rows(tmp_path / "k")} == {"1.tar"}
    assert main(["verify", str(tmp_path / "k")]) == 0


def test_stats_and_compare_know_its_columns(answered: Path) -> None:
    texts = [row["attr_text"] for row in rows_of(answered / "answers") if row["attr_text"]]
    total = read_stats(str(answered / "out"), [str(answered / "answers")]).total
    assert total.spreads["attr_text"].mean == pytest.approx(sum(texts) / len(texts))
    assert total.spreads["attr_text"].values == len(texts)
    scores = str(answered / "out")
    pairs = pair_up(scores, scores, [str(answered / "answers")])
    assert [*compare_pairs(pairs, [0.5]).attributes] == ["attr_blurry"]


def test_a_report_shows_its_columns_and_its_command_names_it(
    answered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    beside = f"{answered / 'answers'} AS late"
    command = ["report", str(answered / "out"), "--with", beside, "--output", str(tmp_path)]
    assert main([*command, "--per", "attr_text IS NULL"]) == 0
    page = (tmp_path / "report.html").read_text()
    assert '"label": "text", "name": "attr_text"' in page
    assert '"label": "late: blurry", "name": "late.attr_blurry"' in page
    assert '"sql": "\\"late\\".\\"attr_blurry\\""' in page
    assert beside in page
    assert f"--with '{beside}'" in " ".join(capsys.readouterr().err.split())
    rule = '"late"."attr_blurry" >= 0'
    assert filter_of(answered, tmp_path / "k", "--with", beside, "--where", rule) == 0


def test_a_name_for_two_outputs_is_refused(
    answered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = str(answered / "answers")
    for names in (["a", "A"], ["annotations"]):
        beside = [word for name in names for word in ("--with", f"{answers} AS {name}")]
        assert filter_of(answered, tmp_path / "k", *beside) == 2
        told = capsys.readouterr().err
        assert "another output A" in told or "two tables are called annotations" in told


# --- answers that are stale ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def stale(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores of a shard in `out`, and answers from before its pictures changed places."""
    tmp_path = tmp_path_factory.mktemp("stale")
    if not STALE.exists():
        pytest.skip(f"{STALE} is not there")
    subprocess.run([sys.executable, str(STALE), str(tmp_path)], check=True)
    shutil.copytree(tmp_path / "before", tmp_path / "in")
    scores = score_again(tmp_path)
    ask_here(scores, tmp_path / "answers", TEXT)
    rule = ["--with", str(tmp_path / "answers"), "--where", "attr_text > 0"]
    assert filter_of(tmp_path, tmp_path / "kept", *rule) == 0
    assert main(["verify", str(tmp_path / "kept")]) == 0
    shutil.copy(tmp_path / "after" / "00000.tar", tmp_path / "in" / "00000.tar")
    (scores / "00000.parquet").unlink()
    score_again(tmp_path)
    return tmp_path


def test_stale_answers_are_refused_by_whoever_would_use_them(
    stale: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores, beside = str(stale / "out"), ["--with", str(stale / "answers")]
    commands = [
        ["filter", scores, *beside, "--keep-top", "1", "--dry-run", "--where", "attr_text > 0"],
        ["filter", scores, *beside, "--keep-top", "1", "--dry-run"],
        ["report", scores, *beside, "--output", str(stale / "page")],
        ["stats", scores, *beside],
        ["compare", scores, scores, *beside],
    ]
    for command in commands:
        assert main(command) == 2, command
        told = capsys.readouterr().err
        if command[0] != "compare":
            assert "the file of 00000.tar is of other samples now" in " ".join(told.split())
    assert not (stale / "page").exists()


def test_verify_tells_of_them_and_of_what_came_of_them(
    stale: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(stale / "answers")]) == 1
    assert "00000.tar: its annotations or embeddings were written again" in capsys.readouterr().out
    assert main(["verify", str(stale / "kept")]) == 1
    assert "its annotation has changed since it was filtered" in capsys.readouterr().out


def test_answers_to_other_questions_are_told_by_what_came_of_the_first(
    answered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = tmp_path / "answers"
    ask_here(answered / "out", answers, TEXT)
    rule = ["--with", str(answers), "--where", "attr_text > 0"]
    assert filter_of(answered, tmp_path / "k", *rule) == 0
    ask_here(answered / "out", answers, "text=a page|a face", overwrite=True)
    assert main(["verify", str(tmp_path / "k")]) == 1
    assert "an output of --with, has changed since" in " ".join(capsys.readouterr().out.split())


def first_footer(folder: Path) -> dict[bytes, bytes]:
    return pq.read_schema(folder / "0.parquet").metadata


def test_embeddings_that_changed_alone_are_noticed_too(
    answered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Equal keys and sizes, as of pictures that another encoder has written."""
    folder = shutil.copytree(answered, tmp_path / "copy")
    sources = json.loads(first_footer(folder / "answers")[b"shardsift.sources"])
    embeddings = json.loads(first_footer(folder / "out")[b"shardsift.embeddings"])
    assert sources == {"maclip": embeddings["maclip"]["sha256"]}
    edit_footer(folder / "answers" / "0.parquet", sources='{"maclip": "0"}')
    rule = ["--with", str(folder / "answers"), "--where", "attr_text > 0"]
    assert filter_of(folder, tmp_path / "k", *rule) == 2
    assert "the file of 0.tar answers other embeddings" in " ".join(capsys.readouterr().err.split())
