"""Compacted annotations answer as they did before, and nothing of them is lost."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardsift.config.filter_settings import FilterConfig
from shardsift.errors import AnnotationError, ErrorCode, InputError, OutputError
from shardsift.filtering.query import curate
from shardsift.outputs import compaction as module
from shardsift.outputs.compaction import Compaction, compact
from shardsift.outputs.output_folder import OutputFolder
from shardsift.outputs.run_folder import RunFolder
from shardsift.outputs.sealed_table import ROW_GROUP_ROWS, SCHEMA
from shardsift.outputs.totals import read_stats
from shardsift.reporting.comparison import compare
from shardsift.reporting.gather import gather
from shardsift.verification.outputs import claim_output, verify_compacted
from tests.generated import contents, damage_row_group, write_annotations, write_many
from tests.outputs import edit_rows, left_by_a_dead_process
from tests.shardsift.resharding.corpora import plain_corpus

SHARDS = {
    "a/0.tar": [0.1, 0.5, ErrorCode.TRUNCATED, 0.9],
    "a/1.tar": [],
    "b/2.tar": [0.5, 0.25, 0.5],
    "b/3.tar": [ErrorCode.DECODE_ERROR],
}


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    return write_annotations(tmp_path / "scores", SHARDS, failed=["b/4.tar"])


def answers(annotations: Path, folder: Path, **rule: Any) -> tuple[dict[str, bytes], Any]:
    """The bytes of a filter's keep-list, and its output."""
    output = folder / f"kept-of-{annotations.name}"
    values = {"annotations": str(annotations), "output": str(output), "overwrite": True}
    curate(FilterConfig.model_validate(values | {"emit": "keep-list,uids"} | rule))
    files = {path.name: path.read_bytes() for path in (output / "keep-list").rglob("*.parquet")}
    files["uids"] = (output / "uids.npy").read_bytes()
    return files, json.loads((output / "_summary.json").read_text())


RULES: list[dict[str, Any]] = [
    {"keep_top": 0.5},
    {"keep_count": 2},
    {"min_quality": 0.5},
    {"keep_top": 0.5, "per": "prefix"},
    {"keep_top": 1.0, "where": "width >= 102 AND quality < 0.9"},
    {"keep_top": 0.5, "errors": "keep"},
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_filters_keep_the_same(rule: dict[str, Any], scores: Path, tmp_path: Path) -> None:
    compact(str(scores), str(tmp_path / "few"))
    before = answers(scores, tmp_path, **rule)
    assert answers(tmp_path / "few", tmp_path, **rule) == before
    assert before[1]["kept"] > 0


def test_statistics_are_the_same(scores: Path, tmp_path: Path) -> None:
    compact(str(scores), str(tmp_path / "few"))
    before, after = (read_stats(str(url)).as_dict() for url in (scores, tmp_path / "few"))
    assert after | {"name": ""} == before | {"name": ""}
    (tmp_path / "few" / "_manifest.arrow").unlink()
    with pytest.raises(OutputError, match="is not whole; compact again"):
        read_stats(str(tmp_path / "few"))


def test_a_thousand_files_of_a_thousand_rows_become_one(tmp_path: Path) -> None:
    """With fewer of them here; `make filter` takes a thousand."""
    files, rows = (1000, 1000) if "SHARDSIFT_TEST_ROWS" in os.environ else (40, 100)
    many = write_many(tmp_path / "many", files, rows)
    done = compact(str(many), str(tmp_path / "few"))
    assert done == Compaction(shards=files, rows=files * rows, files=1)
    for rule in ({"keep_top": 0.3}, {"min_quality": 0.7}):
        assert answers(many, tmp_path, **rule) == answers(tmp_path / "few", tmp_path, **rule)
    before, after = (read_stats(str(url)).as_dict() for url in (many, tmp_path / "few"))
    assert after | {"name": ""} == before | {"name": ""}


def test_every_row_is_there_in_order_and_readable_by_others(scores: Path, tmp_path: Path) -> None:
    compact(str(scores), str(tmp_path / "few"))
    (path,) = (tmp_path / "few").glob("annotations-*.parquet")
    table = pq.read_table(path)
    assert table.schema.equals(SCHEMA)
    files = [pq.ParquetFile(name) for name in sorted(scores.rglob("[!_]*.parquet"))]
    expected = [row for file in files for row in file.read().to_pylist()]
    assert table.to_pylist() == expected
    glob = f"{tmp_path}/few/**/[!_]*.parquet"
    query = f"SELECT count(*), max(quality) FROM '{glob}'"
    assert duckdb.connect().execute(query).fetchall() == [(8, pytest.approx(0.9))]
    metadata = pq.read_metadata(path).metadata
    own = json.loads(metadata[b"shardsift.shards"])
    assert [json.loads(each["shard"])["path"] for each in own] == sorted(SHARDS)


def test_files_are_as_large_as_asked_for(tmp_path: Path) -> None:
    many = write_many(tmp_path / "many", files=12, rows=200)
    done = compact(str(many), str(tmp_path / "few"), bytes_per_file=40_000)
    paths = sorted((tmp_path / "few").glob("annotations-*.parquet"))
    assert len(paths) == done.files > 2
    assert answers(many, tmp_path, keep_top=0.3) == answers(
        tmp_path / "few", tmp_path, keep_top=0.3
    )


def test_a_shard_of_several_row_groups_is_read_whole(tmp_path: Path) -> None:
    many = write_many(tmp_path / "many", files=2, rows=ROW_GROUP_ROWS + 10)
    compact(str(many), str(tmp_path / "few"))
    folder = OutputFolder(str(tmp_path / "few"))
    for name in sorted(folder.committed):
        before = pq.read_table(many / name).select(["key", "quality"])
        assert folder.annotations.read(name, ["key", "quality"]).equals(before)


def test_equal_annotations_give_equal_files(scores: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        compact(str(scores), str(tmp_path / name))
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.parquet")}
        for name in ("one", "two")
    )
    assert one == two


def test_reports_comparisons_and_new_tars_come_of_them_too(tmp_path: Path) -> None:
    corpus = plain_corpus(tmp_path)
    few = tmp_path / "few"
    compact(str(corpus.scores), str(few))
    assert gather(str(few)).table.equals(gather(str(corpus.scores)).table)
    assert compare(str(few), str(corpus.scores), [0.5]).max_absolute == 0
    corpus.reshard()
    before = corpus.written()
    shutil.rmtree(corpus.out)
    corpus.reshard(annotations=str(few))
    assert corpus.written() == before


# --- what goes wrong -----------------------------------------------------------------------------


def test_nothing_is_added_to_them(scores: Path, tmp_path: Path) -> None:
    corpus = plain_corpus(tmp_path / "corpus")
    few = str(tmp_path / "few")
    compact(str(corpus.scores), few)
    with pytest.raises(OutputError, match="which can't be extended"):
        OutputFolder(few).claim(contents(), overwrite=True)
    with pytest.raises(OutputError, match="holds compacted annotations"):
        claim_output(few)


def test_a_run_that_isnt_complete_is_refused(scores: Path, tmp_path: Path) -> None:
    (scores / "a" / "0.parquet").unlink()
    with pytest.raises(InputError, match="1 annotation files are missing"):
        compact(str(scores), str(tmp_path / "few"))
    assert not (tmp_path / "few").exists()


def test_what_a_killed_one_left_half_written_bars_no_way(scores: Path, tmp_path: Path) -> None:
    compact(str(scores), str(tmp_path / "few"))
    (tmp_path / "few" / "_summary.json").unlink()
    leftover = left_by_a_dead_process(tmp_path / "few")
    (tmp_path / "few" / "_probe-0123abcd").touch()  # of one that is about to begin
    compact(str(scores), str(tmp_path / "few"))
    assert not leftover.exists()


def test_rows_that_were_edited_are_noticed(scores: Path, tmp_path: Path) -> None:
    edit_rows(scores / "b" / "2.parquet", lambda rows: rows[0].update(quality=0.6))
    with pytest.raises(AnnotationError, match=r"b/2\.tar has rows that don't match its digest"):
        compact(str(scores), str(tmp_path / "few"))


def test_a_file_of_another_corpus_or_configuration_is_noticed(scores: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    compact(str(scores), str(few))
    file = few / "annotations-00000.parquet"
    for name, qualities, fingerprint, says in (
        ("one", [0.3], "made-up", "holds files of another `compact`"),
        ("two", SHARDS["b/2.tar"], "x", "was made with another configuration"),
    ):
        other = write_annotations(tmp_path / name, SHARDS | {"b/2.tar": qualities}, (), fingerprint)
        compact(str(other), str(tmp_path / f"few-{name}"))
        shutil.copy(tmp_path / f"few-{name}" / file.name, file)
        (problem,) = verify_compacted(RunFolder(str(few))).problems
        assert problem.place == file.name
        assert problem.trouble == "its bytes have changed"
        with pytest.raises(AnnotationError, match=says):
            OutputFolder(str(few)).annotations.read("b/2.parquet")
    file.write_bytes((scores / "b" / "2.parquet").read_bytes())
    with pytest.raises(AnnotationError, match="not an unchanged file of `shardsift compact`"):
        OutputFolder(str(few))


@pytest.mark.parametrize("place", ["scores", "scores/few", "other"])
def test_an_output_that_holds_something_else_is_refused(
    place: str, scores: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.parquet").write_bytes(b"mine")
    with pytest.raises(OutputError, match="choose another --output"):
        compact(str(scores), str(tmp_path / place), overwrite=True)
    assert (tmp_path / "other" / "mine.parquet").read_bytes() == b"mine"


def test_an_interrupted_one_is_done_again_and_a_finished_one_is_kept(
    scores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = tmp_path / "few"

    def stop(rows: object) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, "list_files", stop)
        with pytest.raises(KeyboardInterrupt):
            compact(str(scores), str(few))
    compact(str(scores), str(few))
    before = answers(few, tmp_path, keep_top=0.5)
    with pytest.raises(OutputError, match="--overwrite to replace them"):
        compact(str(scores), str(few))
    compact(str(scores), str(few), overwrite=True)
    assert answers(few, tmp_path, keep_top=0.5) == before


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    many = write_many(tmp_path / "many", files=3, rows=ROW_GROUP_ROWS)
    few = tmp_path / "few"
    compact(str(many), str(few))
    damage_row_group(few / "annotations-00000.parquet", 1)
    folder = OutputFolder(str(few))
    assert len(folder.annotations.read("00000.parquet")) == ROW_GROUP_ROWS
    with pytest.raises(AnnotationError, match=r"annotations-00000\.parquet: not a readable"):
        folder.annotations.read("00001.parquet")
    (few / "_manifest.arrow").write_bytes(b"half a file")
    with pytest.raises(AnnotationError, match=r"_manifest\.arrow: not a manifest"):
        OutputFolder(str(few))


def test_the_tables_have_the_schema_of_annotations(scores: Path, tmp_path: Path) -> None:
    compact(str(scores), str(tmp_path / "few"))
    folder = OutputFolder(str(tmp_path / "few"))
    assert sorted(folder.committed) == ["a/0.parquet", "a/1.parquet", "b/2.parquet", "b/3.parquet"]
    for name in folder.committed:
        assert folder.annotations.read(name).schema.equals(SCHEMA)
    narrow = folder.annotations.read("a/1.parquet", ["key", "quality"])
    assert (narrow.num_rows, narrow.schema.names) == (0, ["key", "quality"])
    assert isinstance(narrow, pa.Table)
