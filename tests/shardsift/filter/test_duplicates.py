"""Of equal pictures the best one stays, and the others are counted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardsift.config.filter import FilterConfig
from shardsift.errors import ConfigError, ErrorCode, InputError
from shardsift.filter.query import FilterResult, curate
from tests.generated import Annotation, row, write_annotations

Sample = tuple[float | ErrorCode, int | None]
"""A quality and a phash."""

SAMPLES = st.lists(
    st.tuples(
        st.one_of(st.sampled_from([0.25, 0.5, 0.75]), st.floats(0, 1, width=32))
        | st.just(ErrorCode.TRUNCATED),
        st.sampled_from([None, 0, 1, 2**63, 2**64 - 1]),
    ),
    max_size=12,
)
SHARDS = st.dictionaries(st.sampled_from(["a/0.tar", "a/1.tar", "b.tar"]), SAMPLES, min_size=1)


def rows_of(samples: Sequence[Sample]) -> list[Annotation]:
    return [row(n, quality, phash=phash) for n, (quality, phash) in enumerate(samples)]


def written(folder: Path, shards: Mapping[str, Sequence[Sample]]) -> Path:
    rows = {shard: rows_of(samples) for shard, samples in shards.items()}
    return write_annotations(folder, rows)


def keep(scores: Path, output: Path | None, **settings: Any) -> FilterResult:
    fields = {"annotations": str(scores), "output": output and str(output), "keep_top": 1}
    fields |= {"dry_run": output is None, "unique": "phash"}
    return curate(FilterConfig.model_validate(fields | settings))


def kept_keys(output: Path) -> list[str]:
    files = sorted((output / "keep-list").rglob("*.parquet"))
    return [key for file in files for key in pq.ParquetFile(file).read()["key"].to_pylist()]


@given(SHARDS)
@settings(deadline=None, max_examples=25)
def test_a_group_keeps_its_best_and_every_row_has_one_reason(
    shards: dict[str, list[Sample]],
) -> None:
    groups: defaultdict[object, list[float]] = defaultdict(list)
    for shard, samples in shards.items():
        for place, (quality, phash) in enumerate(samples):
            if not isinstance(quality, ErrorCode):
                groups[(shard, place) if phash is None else phash].append(quality)
    with TemporaryDirectory() as name:
        scores = written(Path(name, "scores"), shards)
        if not any(phash is not None for s in shards.values() for _, phash in s if s):
            return
        try:
            counts = keep(scores, Path(name, "kept")).summary
        except InputError:  # nothing is scored, or nothing scored has a phash
            return
        files = sorted(Path(name, "kept", "keep-list").rglob("*.parquet"))
        kept = [q for file in files for q in pq.ParquetFile(file).read()["quality"].to_pylist()]
        assert sorted(kept) == sorted(max(group) for group in groups.values())
        assert counts
        assert counts.kept == len(groups)
        assert counts.duplicates == sum(map(len, groups.values())) - len(groups)
        assert counts.rows == sum(map(len, shards.values()))


@given(SHARDS)
@settings(deadline=None, max_examples=10)
def test_the_order_of_files_changes_nothing(shards: dict[str, list[Sample]]) -> None:
    with TemporaryDirectory() as name:
        answers: list[object] = []
        for place, order in enumerate((list(shards), list(shards)[::-1])):
            scores = written(Path(name, f"s{place}"), {shard: shards[shard] for shard in order})
            try:
                keep(scores, Path(name, f"k{place}"), keep_top=0.5)
            except InputError as error:
                answers.append(str(error).rpartition(": ")[2])
            else:
                answers.append(kept_keys(Path(name, f"k{place}")))
        assert answers[0] == answers[1]


def test_a_share_is_of_what_is_left(tmp_path: Path) -> None:
    scores = written(tmp_path / "scores", {"a.tar": [(0.9, 1), (0.8, 1), (0.7, 1), (0.1, 2)]})
    found = keep(scores, tmp_path / "kept", keep_top=0.5)
    assert (found.summary.kept, found.summary.below_threshold, found.summary.duplicates) == (
        1,
        1,
        2,
    )
    assert kept_keys(tmp_path / "kept") == ["k0"]


def test_what_where_excludes_is_no_rival(tmp_path: Path) -> None:
    scores = written(tmp_path / "scores", {"a.tar": [(0.9, 1), (0.8, 1), (0.7, 1)]})
    keep(scores, tmp_path / "kept", where="quality < 0.85")
    assert kept_keys(tmp_path / "kept") == ["k1"]


def test_rows_without_a_score_never_form_a_group(tmp_path: Path) -> None:
    broken = ErrorCode.DECODE_ERROR
    scores = written(tmp_path / "scores", {"a.tar": [(0.9, 1), (broken, 1), (broken, 1)]})
    keep(scores, tmp_path / "kept", errors="keep")
    assert kept_keys(tmp_path / "kept") == ["k0", "k1", "k2"]


@pytest.mark.parametrize("column", ["sha256", "uid", "image_ext", "width", "cluster"])
def test_any_column_of_text_or_integers_makes_groups(column: str, tmp_path: Path) -> None:
    """The first two are equal, in two shards; the joined column makes clusters, as SemDeDup's."""
    values: dict[str, list[Any]] = {
        "sha256": [b"a" * 32, b"a" * 32, b"a" * 16 + b"b" * 16],
        "uid": ["x" * 40, "x" * 40, "x" * 39 + "y"],
        "image_ext": ["jpg", "jpg", "png"],
        "width": [640, 640, 641],
        "cluster": [-1, -1, 2],
    }
    values["sha256"][2] = b"c" + b"a" * 31
    rows = [
        row(n, 0.5 + n / 10, **({} if column == "cluster" else {column: values[column][n]}))
        for n in range(3)
    ]
    scores = write_annotations(tmp_path / "scores", {"a.tar": rows})
    joined = pa.table({"key": ["k0", "k1", "k2"], "cluster": values["cluster"]})
    pq.write_table(joined, tmp_path / "clusters.parquet")
    files = {"join": str(tmp_path / "clusters.parquet")} if column == "cluster" else {}
    found = keep(scores, tmp_path / "kept", unique=column, **files)
    assert kept_keys(tmp_path / "kept") == ["k1", "k2"]
    assert found.summary.duplicates == 1


def test_hashes_that_were_not_asked_for_are_told(tmp_path: Path) -> None:
    scores = written(tmp_path / "scores", {"a.tar": [(0.9, None)]})
    with pytest.raises(InputError, match="has one; score with --hashes phash"):
        keep(scores, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    ("column", "says"),
    [("phsh", "did you mean phash"), ("quality", "is FLOAT; name text, or integers")],
)
def test_a_column_that_makes_no_groups_is_refused(column: str, says: str, tmp_path: Path) -> None:
    scores = written(tmp_path / "scores", {"a.tar": [(0.9, 1)]})
    with pytest.raises(ConfigError, match=says):
        keep(scores, None, unique=column)
