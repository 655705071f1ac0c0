"""A threshold keeps exactly as many rows as were asked for, however few are sorted."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardsift.filtering import rows as table
from shardsift.filtering.database import Database
from shardsift.filtering.selection import GroupKey, Selection

Row = tuple[str | None, float | int]

FLOATS = st.sampled_from([0.0, 0.25, 0.2500001, 0.5, -1.0, 7.5, 1e30, -1e-30])
ROWS = st.lists(st.tuples(st.sampled_from(["x", "y", None]), FLOATS), min_size=1, max_size=60)


def splitmix64(state: int) -> int:
    """The published generator's step, in plain integers."""
    mask = 2**64 - 1
    mixed = (state + 0x9E3779B97F4A7C15) & mask
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & mask
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
    return mixed ^ (mixed >> 31)


def fill(database: Database, rows: list[Row], kind: str = "FLOAT") -> Selection:
    """Rows of three shards, in turn."""
    database.run(table.DEFINITIONS)
    kinds = {"FLOAT": pa.float32(), "DOUBLE": pa.float64()}
    kinds |= {"BIGINT": pa.int64(), "UBIGINT": pa.uint64()}
    places = np.arange(len(rows), dtype=np.int32)
    columns = {
        "row_part": places % 3,
        "row_index": places // 3,
        "group_key": pa.array([group for group, _ in rows], pa.string()),
        "value": pa.array([value for _, value in rows], kinds[kind]),
    }
    source = {"arrow": pa.table(columns)}
    database.run("CREATE TABLE rows AS SELECT *, 'ranked'::outcome AS outcome FROM arrow", source)
    shards = pa.table({"row_part": pa.array(range(3), pa.int32()), "seed": SEEDS})
    database.run("CREATE TABLE shards AS SELECT * FROM arrow", {"arrow": shards})
    return Selection(database, kind)


SEEDS = table.tie_seeds(["a.tar", "b.tar", "c.tar"])


def best(rows: list[Row], group: GroupKey, count: int) -> set[int]:
    """Places of the best rows of a group, by sorting all of them."""
    seeds = SEEDS.to_pylist()

    def worth(place: int) -> tuple[float | int, int]:
        return rows[place][1], splitmix64((seeds[place % 3] + place // 3) % 2**64)

    own = [place for place, (name, _) in enumerate(rows) if name == group]
    return set(sorted(own, key=worth, reverse=True)[:count])


def kept(selection: Selection) -> set[int]:
    indices = enumerate(selection.kept(3))
    return {3 * int(index) + shard for shard, index_N in indices for index in index_N}


@given(ROWS)
@settings(max_examples=40, deadline=None)
def test_it_is_what_sorting_everything_gives(rows: list[Row]) -> None:
    with Database() as database:
        selection = fill(database, rows, "DOUBLE")
        sizes = Counter(group for group, _ in rows)
        assert selection.sizes == sizes
        wanted: dict[GroupKey, int] = {group: round(size / 3) for group, size in sizes.items()}
        if not any(wanted.values()):
            return
        selection.keep_best(wanted)
        expected = set[int]().union(*(best(rows, b, n) for b, n in wanted.items()))
        assert kept(selection) == expected
        counts = selection.count({})
        assert counts["kept"] == len(expected)
        assert counts["below_threshold"] + counts["tied_at_threshold"] == len(rows) - len(expected)


VALUES = {
    "FLOAT": st.floats(width=32, allow_nan=False),
    "DOUBLE": st.floats(allow_nan=False),
    "BIGINT": st.integers(-(2**63), 2**63 - 1),
    "UBIGINT": st.integers(0, 2**64 - 1),
}


@pytest.mark.parametrize("kind", VALUES)
@given(st.data())
@settings(max_examples=10, deadline=None)
def test_values_of_any_kind_are_ordered_by_their_bits(kind: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(VALUES[kind], min_size=2, max_size=20))
    rows: list[Row] = [("x", value + 0) for value in values]  # -0.0 never comes so far
    with Database() as database:
        selection = fill(database, rows, kind)
        selection.keep_best({"x": 1})
        (highest,) = selection.thresholds.values()
        assert highest == pytest.approx(max(values), rel=1e-6)
        assert kept(selection) == best(rows, "x", 1)


def test_a_given_threshold_keeps_all_that_reach_it() -> None:
    rows: list[Row] = [("x", value) for value in (0.1, 0.7, 0.7, 0.9)]
    with Database() as database:
        selection = fill(database, rows)
        database.run("UPDATE rows SET group_key = NULL")
        assert selection.keep_from(0.7) == 0.7
        counts = selection.count({})
        found = (counts["kept"], counts["below_threshold"], counts["tied_at_threshold"])
        assert found == (3, 1, 0)
        assert kept(selection) == {1, 2, 3}


def test_ties_are_decided_by_splitmix64_of_shard_and_index() -> None:
    seed = table.tie_seeds(["a/00000.tar"])[0].as_py()
    with Database() as database:
        database.run(table.DEFINITIONS)
        query = f"SELECT tie_hash({seed}::UBIGINT, n::INTEGER) FROM range(3) r(n) ORDER BY n"
        found = [hashed for (hashed,) in database.run(query)]
    assert found == [splitmix64((seed + n) % 2**64) for n in range(3)]
    assert found[0] == 2076428028734483621, "a file written yesterday must be cut alike"
