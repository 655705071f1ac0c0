"""Somebody's Parquet gets our columns: every row its own scores, and all else as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardsift import annotate_shards
from shardsift.config.verb_settings import ExportConfig
from shardsift.errors import AnnotationError, InputError, OutputError
from shardsift.exporting.export import Exported, export
from tests.fakes import FakeScorer
from tests.generated import row, write_annotations
from tests.outputs import write_run
from tests.samples import as_parquet, encoded, write_shards


def into(scores: Path, files: Path | str, output: Path, **settings: Any) -> Exported:
    given = {"annotations": str(scores), "into": str(files), "output": str(output)}
    return export(ExportConfig.model_validate(given | settings))


def table(path: Path, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [
        row for path in sorted(folder.rglob("*.parquet")) for row in pq.read_table(path).to_pylist()
    ]


# --- by place ------------------------------------------------------------------------------------


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Three Parquet files with pictures, as `datasets` writes them, scored into `scores`."""
    as_parquet(write_shards(tmp_path / "tars", 3, 5), tmp_path / "corpus", rows=2)
    write_run(tmp_path / "corpus", tmp_path / "scores", FakeScorer())
    return tmp_path / "corpus"


def test_the_corpus_itself_gets_the_score_of_each_row(corpus: Path, tmp_path: Path) -> None:
    done = into(tmp_path / "scores", corpus, tmp_path / "out")
    assert (done.files, done.rows, done.matched, done.by) == (3, 15, 15, "place")
    for path in sorted(corpus.glob("*.parquet")):
        old, new = pq.read_table(path), pq.read_table(tmp_path / "out" / path.name)
        assert new.select(old.column_names).equals(old)
        scores = pq.read_table(tmp_path / "scores" / path.name)
        added = ["quality", "q_sim", "q_mag", "error"]
        assert new.column_names == [*old.column_names, *added]
        for name in added:
            assert new[name].to_pylist() == scores[name].to_pylist()
    loaded = datasets.load_dataset("parquet", data_dir=str(tmp_path / "out"), split="train")
    assert loaded.features["quality"].dtype == "float32"
    assert loaded[0]["image"].size == (230, 260)


def test_a_copy_of_the_corpus_elsewhere_is_known_by_name_and_size(
    corpus: Path, tmp_path: Path
) -> None:
    moved = corpus.rename(tmp_path / "moved")
    assert into(tmp_path / "scores", moved / "*.parquet", tmp_path / "out").by == "place"


def test_a_corpus_that_has_changed_since_is_refused(corpus: Path, tmp_path: Path) -> None:
    path = corpus / "00001.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(InputError, match=r"00001\.parquet: has changed since it was scored"):
        into(tmp_path / "scores", corpus, tmp_path / "out")
    assert not (tmp_path / "out").exists() or not [*(tmp_path / "out").iterdir()]


def test_a_file_that_was_never_scored_gets_nulls(corpus: Path, tmp_path: Path) -> None:
    table(corpus / "new.parquet", image=[{"bytes": encoded(), "path": None}])
    done = into(tmp_path / "scores", corpus, tmp_path / "out")
    assert (done.rows, done.matched, done.by) == (16, 15, "place")
    assert pq.read_table(tmp_path / "out" / "new.parquet")["quality"].to_pylist() == [None]


def test_hashes_and_answers_of_other_outputs_are_columns_too(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    pictures = [encoded(seed=seed) for seed in range(3)]
    table(tmp_path / "corpus" / "a.parquet", jpg=pictures)
    scorer = FakeScorer()
    scorer.attributes = {"text": (("text", "no text"),)}
    annotate_shards(tmp_path / "corpus", scorer, tmp_path / "scores", hashes=["sha256", "phash"])
    scorer.attributes = {"logo": (("logo", "no logo"),)}
    annotate_shards(tmp_path / "corpus", scorer, tmp_path / "others")
    given = {"with": [f"{tmp_path / 'others'} AS o"], "prefix": "s_"}
    into(tmp_path / "scores", tmp_path / "corpus", tmp_path / "out", **given)
    schema = pq.read_schema(tmp_path / "out" / "a.parquet")
    told = {field.name: str(field.type) for field in schema if field.name.startswith("s_")}
    assert told == {
        **dict.fromkeys(("s_quality", "s_q_sim", "s_q_mag", "s_attr_text"), "float"),
        **{"s_sha256": "binary", "s_phash": "uint64", "s_attr_logo": "float"},
        "s_error": "string",
    }


# --- by key --------------------------------------------------------------------------------------


def annotated(folder: Path, *shards: str, first: int = 0) -> Path:
    """Annotations with rows of eight keys each, which repeat in every shard."""
    rows = {
        shard: [row(n, (n + number) / 16, uid=f"{number}-{n}") for n in range(8)]
        for number, shard in enumerate(shards, first)
    }
    return write_annotations(folder, rows)


def test_a_file_of_a_shards_name_is_matched_with_that_shard(tmp_path: Path) -> None:
    scores = annotated(tmp_path / "scores", "a/00000.tar", "b/00000.tar")
    keys = [f"k{n}" for n in range(8)]
    table(tmp_path / "in" / "a" / "00000.parquet", key=[*reversed(keys), "failed"], url=["u"] * 9)
    table(tmp_path / "in" / "b" / "00000.parquet", key=keys[:2])
    done = into(scores, tmp_path / "in", tmp_path / "out")
    assert (done.rows, done.matched, done.by) == (11, 10, "key")
    first, second = (pq.read_table(tmp_path / "out" / n / "00000.parquet") for n in ("a", "b"))
    assert first["quality"].to_pylist() == [*(n / 16 for n in reversed(range(8))), None]
    assert second["quality"].to_pylist() == [1 / 16, 2 / 16]
    assert first["url"].to_pylist() == ["u"] * 9


def test_files_of_other_names_are_matched_with_all_shards(tmp_path: Path) -> None:
    scores = annotated(tmp_path / "scores", "0.tar", "1.tar")
    uids = [f"{number}-{n}" for number in range(2) for n in range(8)]
    mixed = np.random.default_rng(0).permutation(16).tolist()
    table(tmp_path / "in" / "x.parquet", uid=[uids[n] for n in mixed[:9]], n=mixed[:9])
    table(
        tmp_path / "in" / "y.parquet", uid=[uids[n] for n in mixed[9:]] + [None], n=[*mixed[9:], 0]
    )
    done = into(scores, tmp_path / "in" / "*.parquet", tmp_path / "out", columns="quality")
    assert (done.files, done.rows, done.matched, done.by) == (2, 17, 16, "uid")
    written = rows_of(tmp_path / "out")
    assert [row["n"] for row in written] == [*mixed, 0]
    assert [row["quality"] for row in written] == [*((n % 8 + n // 8) / 16 for n in mixed), None]


def test_a_table_of_a_million_rows_is_read_in_pieces(tmp_path: Path) -> None:
    count = 200_000
    rows = [row(n, n / count) for n in range(count)]
    scores = write_annotations(tmp_path / "scores", {"0.tar": rows})
    names = [f"k{n}" for n in range(count)]
    table(tmp_path / "in" / "x.parquet", key=names[::-1])
    assert into(scores, tmp_path / "in", tmp_path / "out").matched == count
    written = pq.read_table(tmp_path / "out" / "x.parquet")["quality"].to_numpy()
    assert (written == np.float32(np.arange(count)[::-1] / count)).all()


def test_a_row_of_several_samples_is_refused_with_the_way_out(tmp_path: Path) -> None:
    scores = annotated(tmp_path / "scores", "0.tar", "1.tar")
    files = table(tmp_path / "in" / "x.parquet", key=["nobody", "k3"])
    with pytest.raises(InputError, match=r"x\.parquet: row 1 matches several samples by key; name"):
        into(scores, files, tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_another_column_can_be_the_key(tmp_path: Path) -> None:
    scores = annotated(tmp_path / "scores", "0.tar")
    files = table(tmp_path / "x.parquet", name=["k5"])
    told = r"has no uid, key, or shard and index to match rows by; name the key"
    with pytest.raises(InputError, match=told):
        into(scores, files, tmp_path / "out")
    assert into(scores, files, tmp_path / "out", on="key=name").matched == 1


def test_nothing_in_common_is_an_error(tmp_path: Path) -> None:
    scores = annotated(tmp_path / "scores", "0.tar")
    files = table(tmp_path / "x.parquet", key=["a", "b"])
    with pytest.raises(InputError, match="none of 2 rows has an annotation by key; name the key"):
        into(scores, files, tmp_path / "out")


# --- the output ----------------------------------------------------------------------------------


def test_a_column_that_is_there_already_is_not_replaced(tmp_path: Path) -> None:
    scores = annotated(tmp_path / "scores", "0.tar")
    files = table(tmp_path / "x.parquet", key=["k5"], Quality=[1])
    with pytest.raises(InputError, match=r"has a column quality already; pass --prefix, such as"):
        into(scores, files, tmp_path / "out")
    assert into(scores, files, tmp_path / "out", prefix="s_").matched == 1


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    scores = annotated(tmp_path / "scores", "0.tar")
    files = table(tmp_path / "in" / "x.parquet", key=["k5"])
    with pytest.raises(OutputError, match=r"the files to copy|a folder of shards"):
        into(scores, files, tmp_path / "in")
    table(tmp_path / "out" / "x.parquet", key=["a"])
    with pytest.raises(OutputError, match=r"holds x\.parquet, which no `export` has recorded"):
        into(scores, files, tmp_path / "out", overwrite=True)
    into(scores, files, tmp_path / "new")
    first = (tmp_path / "new" / "x.parquet").read_bytes()
    into(scores, files, tmp_path / "new")  # as after a kill
    assert (tmp_path / "new" / "x.parquet").read_bytes() == first
    with pytest.raises(OutputError, match="holds another export; choose another"):
        into(scores, files, tmp_path / "new", columns="quality")
    into(scores, files, tmp_path / "new", columns="quality", overwrite=True)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x.parquet"]


def test_an_export_that_fails_leaves_no_file(corpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "scores" / "00002.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(AnnotationError):
        into(tmp_path / "scores", corpus, tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
