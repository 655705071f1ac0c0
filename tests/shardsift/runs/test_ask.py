"""`ask` as people type it, on Ray: embeddings answer, and filters go by what they say."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from shardsift import ScoreConfig, Scorer, annotate_shards
from shardsift.annotations.compact import compact
from shardsift.cli.app import main
from tests.conftest import Golden
from tests.fakes import FakeScorer
from tests.outputs import annotation_files, edit_footer, edit_json, edit_rows
from tests.samples import encoded, write_tar

pytestmark = pytest.mark.usefixtures("local_ray")

BLURRY = "blurry=a blurry photo|a sharp photo"
TEXT = "text=a picture with words|a picture without words"
SHARDS = ["0.tar", "1.tar", "more/2.tar"]


def files(shard: int) -> list[tuple[str, bytes]]:
    """Some pictures, one that is broken, and a key that comes twice."""
    names = ["a.jpg", "b.jpg", "c.jpg", "a.jpg"]
    return [
        (name, encoded(seed=10 * shard + number)[: 60 if name == "b.jpg" else None])
        for number, name in enumerate(names)
    ]


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has both embeddings and an attribute."""
    folder = tmp_path_factory.mktemp("scored")
    for number, shard in enumerate(SHARDS):
        write_tar(folder / "in" / shard, files(number))
    asked = {"blurry": (("a blurry photo", "a sharp photo"),)}
    config = ScoreConfig(model="compact", crops="global")
    scorer = Scorer(config, attributes=asked, embeddings=True)
    annotate_shards(folder / "in", scorer, folder / "out")
    return folder


@pytest.fixture
def scores(scored: Path, tmp_path: Path) -> Path:
    return shutil.copytree(scored / "out", tmp_path / "scores")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "answers"


def ask(scores: Path, out: Path, *flags: str) -> int:
    return main(["ask", str(scores), "--output", str(out), "--actors", "2", *flags])


def rows_of(folder: Path) -> list[dict[str, Any]]:
    tables = [pq.ParquetFile(folder / f"{name[:-4]}.parquet").read() for name in SHARDS]
    return [row for table in tables for row in table.to_pylist()]


def test_embeddings_answer_what_the_pictures_would(
    scores: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(scores, out, "--attribute", BLURRY, "--attribute", TEXT) == 0
    said = capsys.readouterr().err
    assert "asked 3 shards: " in said
    for row, scored in zip(rows_of(out), rows_of(scores), strict=True):
        assert [*row] == ["shard", "index", "attr_blurry", "attr_text"]
        assert (row["shard"], row["index"]) == (scored["shard"], scored["index"])
        if scored["error"]:
            assert (row["attr_blurry"], row["attr_text"]) == (None, None)
        else:
            assert row["attr_blurry"] == pytest.approx(scored["attr_blurry"], abs=2e-3)
            assert 0 <= row["attr_text"] <= 1
    summary = json.loads((out / "_summary.json").read_text())
    assert (summary["shards"], summary["rows"], summary["answered"]) == (3, 12, 9)
    mean = np.mean([row["attr_text"] for row in rows_of(out) if row["attr_text"] is not None])
    assert summary["means"]["attr_text"] == pytest.approx(mean)
    assert main(["verify", str(out)]) == 0


def test_a_filter_goes_by_the_answers(scores: Path, out: Path, tmp_path: Path) -> None:
    """Row by row as DuckDB joins them, though a key comes twice in each shard."""
    assert ask(scores, out, "--attribute", TEXT) == 0
    command = ["filter", str(scores), "--output", str(tmp_path / "kept"), "--keep-count", "4"]
    assert main([*command, "--by", "attr_text", "--join", str(out)]) == 0
    rows = f"SELECT shard, \"index\" FROM '{tmp_path}/kept/keep-list/**/*.parquet' ORDER BY ALL"
    kept = duckdb.execute(rows).fetchall()
    rows = f"SELECT shard, \"index\" FROM '{out}/**/*.parquet' WHERE attr_text IS NOT NULL"
    best = duckdb.execute(f"{rows} ORDER BY attr_text DESC LIMIT 4").fetchall()
    assert kept == sorted(best)


def test_a_second_ask_goes_on_where_the_first_one_stopped(
    scores: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(scores, out, "--attribute", TEXT) == 0
    whole, summary = annotation_files(out), (out / "_summary.json").read_bytes()
    assert ask(scores, out, "--attribute", TEXT) == 0
    assert "nothing to do: 3 shards answered already" in capsys.readouterr().err
    (out / "more" / "2.parquet").unlink()
    (out / "_summary.json").unlink()
    assert ask(scores, out, "--attribute", TEXT) == 0
    assert "asked 1 shard: " in capsys.readouterr().err
    assert (annotation_files(out), (out / "_summary.json").read_bytes()) == (whole, summary)


def test_other_questions_are_refused_or_replace_the_first(
    scores: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(scores, out, "--attribute", TEXT) == 0
    before = annotation_files(out)
    assert ask(scores, out, "--attribute", BLURRY) == 2
    assert "holds answers to something else (attributes: blurry, text)" in capsys.readouterr().err
    assert annotation_files(out) == before
    assert ask(scores, out, "--attribute", BLURRY, "--overwrite") == 0
    assert "attr_blurry" in rows_of(out)[0]


def test_annotations_that_were_scored_again_are_asked_again(
    scored: Path, scores: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(scores, out, "--attribute", TEXT) == 0
    edit_json(scores / "_summary.json", manifest="0" * 64)
    assert ask(scores, out, "--attribute", TEXT) == 2
    assert "the annotations are others, or were scored again" in capsys.readouterr().err


def fake(folder: Path, scorer: FakeScorer) -> Path:
    annotate_shards(folder / "in", scorer, folder / "fake")
    return folder / "fake"


def test_what_cannot_be_asked_is_one_line(
    scored: Path,
    scores: Path,
    out: Path,
    golden: Golden,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_tar(tmp_path / "in" / "0.tar", files(0))
    plain = fake(tmp_path, FakeScorer())
    compact(str(scores), str(tmp_path / "few"))
    asked = ["--attribute", TEXT]
    weights = golden.config.model, golden.config.pretrained or ""
    for folder, flags, says in (
        (scores, [], "nothing is asked; name an --attribute"),
        (plain, asked, "has no embeddings to ask; score with --embeddings"),
        (tmp_path / "few", asked, "compacted annotations; their embeddings lie beside"),
        (scores, [*asked, "--pretrained", "random"], "--model compact has its own weights"),
        (scores, [*asked, "--model", weights[0], "--pretrained", weights[1]], "not the weights"),
        (scored / "in", asked, "no annotations here"),
        (scores, [*asked, "--attribute", "a=b"], "is no pair of prompts"),
    ):
        assert ask(folder, out, *flags) == 2
        assert says in capsys.readouterr().err
    assert ask(scores, scores / "answers", *asked) == 2
    assert "lies in the annotations" in capsys.readouterr().err
    assert ask(scores, plain, *asked) == 2
    assert "holds 0.parquet, which no ask here has recorded" in capsys.readouterr().err
    assert not list(out.rglob("*.parquet"))


def test_a_shard_whose_embeddings_are_damaged_fails_alone(
    scores: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = scores / "embeddings" / "1.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert ask(scores, out, "--attribute", TEXT) == 1
    assert "1.tar: its embeddings can't be asked: they end early" in capsys.readouterr().err
    assert {*annotation_files(out)} == {"0.parquet", "more/2.parquet"}
    np.save(path, np.zeros((4, 256), np.float16))
    assert ask(scores, out, "--attribute", TEXT) == 1
    assert "3 rows have a score, and not as many an embedding" in capsys.readouterr().err
    path.unlink()
    assert ask(scores, out, "--attribute", TEXT) == 1
    assert "1.tar: its embeddings can't be read: " in capsys.readouterr().err
    path.write_bytes(whole)
    assert ask(scores, out, "--attribute", TEXT) == 0
    assert not list(out.rglob("_failed/*"))


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


HARMS: list[tuple[Callable[[Path], object], str]] = [
    (lambda out: (out / "0.parquet").unlink(), "0.parquet: is missing"),
    (lambda out: flip(out / "0.parquet", 40), "0.parquet: is damaged"),
    (lambda out: shutil.copy(out / "1.parquet", out / "0.parquet"), "has the answers of 1.tar"),
    (lambda out: shutil.copy(out / "1.parquet", out / "9.parquet"), "has the answers of 1.tar"),
    (
        lambda out: edit_rows(out / "0.parquet", lambda rows: rows[0].update(attr_text=0.5)),
        "0.parquet: is damaged: its bytes are not those",
    ),
    (lambda out: edit_footer(out / "0.parquet", answered="4"), "tells of other answers"),
    (lambda out: edit_footer(out / "0.parquet", embeddings="0" * 64), "made anew since"),
    (lambda out: edit_json(out / "_summary.json", rows=11), "disagrees with the answers"),
    (lambda out: (out / "_summary.json").write_text("{"), "_summary.json: not JSON"),
    (lambda out: (out / "notes.txt").write_text("mine"), "notes.txt: is none of ask's files"),
]


@pytest.fixture(scope="module")
def answered(scored: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("answered") / "out"
    assert ask(scored / "out", out, "--attribute", TEXT) == 0
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
    assert ask(scored / "out", out, "--attribute", TEXT) == 0
    assert annotation_files(out) == annotation_files(answered)
    assert main(["verify", str(out)]) == 0
