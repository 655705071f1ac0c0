"""A filter keeps exactly the requested rows, and counts all others by reason."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardsift.config.filter_settings import FilterConfig
from shardsift.errors import (
    AnnotationError,
    ErrorCode,
    InputError,
    OutputError,
    UserError,
)
from shardsift.filtering.query import curate
from tests.generated import Annotation, Quality, row, write_annotations
from tests.outputs import edit_rows

SAMPLES = st.lists(
    st.one_of(
        st.floats(-1, 2, width=32),
        st.sampled_from([0.25, 0.5, 0.75]),  # for ties
        st.sampled_from(list(ErrorCode)),
    ),
    max_size=30,
)
SHARDS = st.dictionaries(
    st.sampled_from(["a/0.tar", "a/1.tar", "b/0.tar", "c.tar"]), SAMPLES, min_size=1
)
SOME = {
    "a/0.tar": [0.1, 0.9, ErrorCode.TRUNCATED, 0.5],
    "a/1.tar": [0.5, 0.5, 0.3, ErrorCode.DECODE_ERROR],
    "b/0.tar": [0.7, 0.2],
}


def config(annotations: Path, output: Path | None, **settings: Any) -> FilterConfig:
    fields = {"annotations": str(annotations), "output": output and str(output)}
    return FilterConfig.model_validate(fields | {"dry_run": output is None} | settings)


def read_table(path: Path) -> Any:
    """One file, and not the folder that pyarrow takes `a/0.parquet` for a part of."""
    return pq.ParquetFile(path).read()


def kept_rows(output: Path) -> list[dict[str, Any]]:
    files = sorted((output / "keep-list").rglob("*.parquet"))
    return [row for file in files for row in read_table(file).to_pylist()]


def summary_of(output: Path) -> dict[str, Any]:
    return json.loads((output / "_summary.json").read_text())


@pytest.fixture
def some(tmp_path: Path) -> Path:
    """Annotations of three shards."""
    return write_annotations(tmp_path / "scores", SOME, failed=["b/9.tar"])


@given(SHARDS, st.floats(0.01, 1), st.sampled_from(["drop", "keep"]))
@settings(deadline=None, max_examples=25)
def test_every_row_is_kept_or_has_one_reason(
    shards: dict[str, list[Quality]], share: float, errors: str
) -> None:
    with TemporaryDirectory() as name:
        annotations = write_annotations(Path(name, "scores"), shards)
        output = Path(name, "kept")
        samples = [sample for shard in shards.values() for sample in shard]
        scores = sorted((s for s in samples if isinstance(s, float)), reverse=True)
        wanted = round(share * len(scores))
        settings = config(annotations, output, keep_top=share, errors=errors)
        if not wanted:
            with pytest.raises(InputError, match="keeps nothing"):
                curate(settings)
            assert not output.exists()
            return
        outcome = curate(settings)
        counts = outcome.summary
        assert counts is not None
        unscored = sum(counts.kept_without_score.values())
        assert counts.kept == wanted + unscored
        assert wanted + counts.below_threshold + counts.tied_at_threshold == len(scores)
        codes = Counter(str(s) for s in samples if isinstance(s, ErrorCode))
        assert (counts.kept_without_score if errors == "keep" else counts.errors) == codes
        assert counts.rows == len(samples)
        rows = kept_rows(output)
        kept = sorted((r["quality"] for r in rows if r["quality"] is not None), reverse=True)
        assert kept == scores[:wanted]
        assert len(rows) == counts.kept
        assert outcome.threshold == pytest.approx(kept[-1], rel=1e-6)


@given(SHARDS)
@settings(deadline=None, max_examples=10)
def test_the_order_in_which_files_were_written_changes_nothing(
    shards: dict[str, list[Quality]],
) -> None:
    if not any(isinstance(sample, float) for shard in shards.values() for sample in shard):
        return
    with TemporaryDirectory() as name:
        folders: list[Path] = []
        for place, order in enumerate((list(shards), list(shards)[::-1])):
            annotations = write_annotations(
                Path(name, f"scores{place}"), {shard: shards[shard] for shard in order}
            )
            folders.append(Path(name, f"kept{place}"))
            curate(config(annotations, folders[-1], keep_count=1, emit="keep-list,uids"))
        one, other = (
            {path.relative_to(folder): path.read_bytes() for path in folder.rglob("[!_]*.*")}
            for folder in folders
        )
        assert one == other


def test_the_threshold_found_keeps_the_same_again(some: Path, tmp_path: Path) -> None:
    found = curate(config(some, tmp_path / "one", keep_count=2))
    curate(config(some, tmp_path / "two", min_quality=found.threshold))
    assert kept_rows(tmp_path / "one") == kept_rows(tmp_path / "two")
    metadata = pq.read_schema(tmp_path / "one" / "keep-list" / "a" / "0.parquet").metadata
    assert json.loads(metadata[b"shardsift.threshold"]) == found.threshold == 0.7
    assert metadata[b"shardsift.fingerprint"] == b"made-up"


def test_a_keep_list_lies_as_its_annotations_do(some: Path, tmp_path: Path) -> None:
    curate(config(some, tmp_path / "kept", keep_top=0.5))
    folder = tmp_path / "kept" / "keep-list"
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet"))
    assert files == ["a/0.parquet", "a/1.parquet", "b/0.parquet"]
    table = read_table(folder / "a" / "0.parquet")
    assert table.column_names == ["shard", "key", "index", "uid", "quality"]
    first = table.to_pylist()[0]
    assert (first["shard"], first["key"], first["index"]) == ("a/0.tar", "k1", 1)


def test_kept_errors_fulfil_the_condition_too(some: Path, tmp_path: Path) -> None:
    settings = config(
        some, tmp_path / "kept", keep_count=1, errors="keep", where="error IS NULL OR index = 2"
    )
    outcome = curate(settings)
    assert outcome.summary.kept_without_score == {"truncated": 1}
    assert outcome.summary.excluded_by_where == 1
    assert [(r["key"], r["quality"]) for r in kept_rows(tmp_path / "kept")] == [
        ("k1", pytest.approx(0.9)),
        ("k2", None),
    ]


def test_shards_without_annotation_are_counted_by_name(some: Path, tmp_path: Path) -> None:
    (some / "a" / "1.parquet").unlink()
    with pytest.raises(InputError, match=r"1 annotation files are missing, such as a/1\.parquet"):
        curate(config(some, tmp_path / "kept", keep_top=0.5))
    assert not (tmp_path / "kept").exists()
    curate(config(some, tmp_path / "kept", keep_top=0.5, allow_missing=True))
    told = summary_of(tmp_path / "kept")
    assert (told["failed_shards"], told["missing_shards"]) == (["b/9.tar"], ["a/1.tar"])
    assert (told["rows"], told["kept"], told["errors"]) == (6, 2, {"truncated": 1})


def test_a_run_that_has_not_ended_is_refused(some: Path, tmp_path: Path) -> None:
    (some / "_summary.json").unlink()
    with pytest.raises(InputError, match="the run hasn't finished"):
        curate(config(some, tmp_path / "kept", keep_top=0.5))
    outcome = curate(config(some, None, keep_top=0.5, allow_missing=True))
    assert not outcome.annotations.is_finished


def test_two_configurations_do_not_mix(some: Path, tmp_path: Path) -> None:
    other = write_annotations(tmp_path / "other", {"a/1.tar": [0.5]}, fingerprint="another")
    (other / "a" / "1.parquet").replace(some / "a" / "1.parquet")
    with pytest.raises(InputError, match=r"two configurations.*a/1\.parquet has another"):
        curate(config(some, tmp_path / "kept", keep_top=0.5))
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"min_quality": 0.95}, "reaches the threshold; quality goes from 0.1 to 0.9"),
        ({"keep_top": 0.5, "where": "width > 5000"}, "has a score and passes where"),
        (
            {"min_quality": 0.5, "where": "width > 5000"},
            "5000' and reaches the threshold",
        ),
        ({"keep_top": 0.01}, "0.01 of 8 rows is less than one"),
        ({"keep_count": 9}, "can't keep 9 of its 10 rows"),
        ({"keep_top": 0.5, "per": "megapixel"}, "did you mean megapixels?"),
        ({"keep_top": 0.5, "per": "language"}, "no column language; there are key"),
    ],
)
def test_a_mistake_leaves_nothing_behind(
    rule: dict[str, Any], says: str, some: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as error:
        curate(config(some, tmp_path / "kept", **rule))
    assert says in str(error.value)
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"keep_top": 0.5, "keep_count": 3},
        {"keep_count": 3, "per": "prefix"},
        {"keep_top": 0.5, "join": "a.parquet"},
        {"min": 0.5},
        {"keep_top": 1.5},
        {"keep_top": 0.5, "emit": "shards,keeplist"},
    ],
)
def test_what_does_not_go_together_is_refused(rule: dict[str, Any], some: Path) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        config(some, None, **rule)


def test_a_corpus_that_is_better_throughout_is_kept(some: Path, tmp_path: Path) -> None:
    found = curate(config(some, tmp_path / "kept", min_quality=0.05))
    assert (found.summary.kept, found.summary.below_threshold) == (8, 0)


def test_a_folder_that_was_there_before_stays(some: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    with pytest.raises(InputError):
        curate(config(some, tmp_path / "kept", keep_count=9))
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_damaged_file_leaves_nothing_behind_either(some: Path, tmp_path: Path) -> None:
    path = some / "b" / "0.parquet"
    table = read_table(path)
    pq.write_table(table.slice(0, 1), path)
    with pytest.raises(
        AnnotationError, match=r"its footer counts 2 rows, 2 of them with a score; it has 1"
    ):
        curate(config(some, tmp_path / "kept", min_quality=0.5))
    assert not (tmp_path / "kept").exists()


def test_a_quality_that_is_no_number_is_not_passed_over(some: Path, tmp_path: Path) -> None:
    edit_rows(some / "b" / "0.parquet", lambda rows: rows[0].update(quality=float("nan")))
    with pytest.raises(AnnotationError, match=r"b/0\.parquet: has a quality that is not finite"):
        curate(config(some, tmp_path / "kept", keep_top=0.5))
    assert not (tmp_path / "kept").exists()


def test_another_filter_is_replaced_only_when_asked(some: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    curate(config(some, kept, keep_top=0.5, emit="keep-list,uids"))
    with pytest.raises(OutputError, match="holds the output of an earlier filter"):
        curate(config(some, kept, keep_count=1))
    curate(config(some, kept, keep_count=1, overwrite=True))
    assert [r["quality"] for r in kept_rows(kept)] == [pytest.approx(0.9)]
    assert not (kept / "uids.npy").exists(), "that was the other filter's"


def test_an_interrupted_filter_is_done_anew(some: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    curate(config(some, kept, keep_top=0.5))
    (kept / "_summary.json").unlink()
    first = min((kept / "keep-list").rglob("*.parquet"))
    first.write_bytes(first.read_bytes()[:-100])
    curate(config(some, kept, keep_count=1))
    assert [r["quality"] for r in kept_rows(kept)] == [pytest.approx(0.9)]


def test_a_file_of_others_among_keep_lists_is_told_and_stays(some: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    curate(config(some, kept, keep_top=0.5))
    mine = kept / "keep-list" / "mine.parquet"
    mine.write_bytes(b"precious")
    with pytest.raises(
        OutputError, match=r"keep-list/mine\.parquet, which no `filter` has recorded here"
    ):
        curate(config(some, kept, keep_count=1, overwrite=True))
    assert mine.read_bytes() == b"precious"


def test_folders_of_others_are_left_alone(some: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="lies in the annotations"):
        curate(config(some, some / "kept", keep_top=0.5))
    with pytest.raises(OutputError, match="lies in the annotations"):
        curate(config(some, some, keep_top=0.5))
    foreign = tmp_path / "foreign" / "keep-list"
    foreign.mkdir(parents=True)
    (foreign / "mine.parquet").write_bytes(b"precious")
    with pytest.raises(OutputError, match="which no `filter` has recorded here"):
        curate(config(some, foreign.parent, keep_top=0.5, overwrite=True))
    assert (foreign / "mine.parquet").read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("per", "groups"),
    [
        ("prefix", {"a": (6, 3), "b": (2, 1)}),
        ("megapixels", {"0 to 0.1 MP": (7, 4), "8 to 16 MP": (1, 0)}),
    ],
)
def test_a_share_within_groups(per: str, groups: dict[str, tuple[int, int]], some: Path) -> None:
    large: list[Quality | Annotation] = [row(0, 0.7, width=4000, height=3000), 0.2]
    write_annotations(some, SOME | {"b/0.tar": large})
    outcome = curate(config(some, None, keep_top=0.5, per=per))
    assert {b.name: (b.rows, b.kept) for b in outcome.summary.groups} == groups
    assert outcome.threshold is None
    assert outcome.summary.kept == sum(kept for _, kept in groups.values())
