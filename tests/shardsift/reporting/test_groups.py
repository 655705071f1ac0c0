"""Groups are folders, or the values of a column of another file."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardsift.errors import ConfigError, InputError
from shardsift.reporting.axes import make_labels
from shardsift.reporting.gather import gather
from tests.generated import row, write_annotations


@pytest.fixture(name="scores", scope="module")
def a_run(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("run")
    shards = {f"x/{name}.tar": [row(n, 0.5) for n in range(4)] for name in ("cats-1", "cats-2")}
    return str(write_annotations(folder / "scores", shards))


@pytest.fixture(name="sources", scope="module")
def other_columns(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("join") / "sources.parquet"
    columns = {
        "shard": ["x/cats-1.tar"] * 3,
        "index": [0, 1, 2],
        "source": ["web", "it's", None],
        "year": [2020, 2020, 2021],
        "clip": [0.1, 0.2, 0.3],
    }
    pq.write_table(pa.table(columns), path)
    return str(path)


def test_names_that_differ_by_numbers_alone_are_one_group(scores: str) -> None:
    group = make_labels(gather(scores))[0]
    assert (group.names, group.literals) == (["x"], ["'x'"])


@pytest.mark.parametrize(
    ("column", "names", "literals"),
    [
        ("source", ["it's", "web", "(not joined)"], ["'it''s'", "'web'", None]),
        ("year", ["2020", "2021", "(not joined)"], ["2020", "2021", None]),
    ],
)
def test_a_joined_column_forms_groups(
    scores: str, sources: str, column: str, names: list[str], literals: list[str | None]
) -> None:
    run = gather(scores, per=column, join=sources)
    group = make_labels(run)[0]
    assert (group.label, group.sql) == (column, f'"{column}"')
    assert (group.names, group.literals) == (names, literals)
    assert run.grouping.flags == ("--join", sources)


def test_a_column_of_annotations_needs_no_join(scores: str) -> None:
    run = gather(scores, per="image_ext")
    assert make_labels(run)[0].names == ["jpg"]
    assert run.grouping.flags == ()


@pytest.mark.parametrize(
    ("column", "problem"),
    [("sauce", "did you mean source"), ("clip", "name text or whole numbers")],
)
def test_what_makes_no_parts_is_a_mistake(
    scores: str, sources: str, column: str, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        gather(scores, per=column, join=sources)


def test_without_a_file_to_join_its_columns_are_unknown(scores: str) -> None:
    with pytest.raises(ConfigError, match="no column source"):
        gather(scores, per="source")
    with pytest.raises(InputError):
        gather(scores, per="source", join="nowhere.parquet")
