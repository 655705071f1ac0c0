"""The threshold of a filter, and the rows that reach it.

Where the threshold lies is learnt from counts over the upper bits of values; only rows whose bits
are the threshold's are sorted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import repeat
from math import ceil
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shardsift.errors import InputError
from shardsift.filtering.database import Database, equal_runs
from shardsift.filtering.kept_folder import Value
from shardsift.outputs.sketch import shortest

GroupKey = str | int | None
"""A value of `--per`; null for rows without one."""

_MOST_GROUPS = 1 << 14
_NEAR = "rows r JOIN near n ON r.group_key IS NOT DISTINCT FROM n.group_key"
_CUT = "rows r LEFT JOIN cuts c ON r.group_key IS NOT DISTINCT FROM c.group_key"


class Selection:
    """The best rows of the table `rows`, see `Rows`.

    Attributes:
        sizes: number of rows of each group.
        thresholds: the lowest kept value of each group that keeps a row.
    """

    def __init__(self, database: Database, kind: str) -> None:
        """Count the rows whose values are of a type. Raises InputError for too many groups."""
        self._database, self._kind = database, kind
        counted = database.run(
            "SELECT group_key, count(*) FROM rows WHERE outcome = 'ranked' "
            "GROUP BY group_key ORDER BY ALL"
        )
        self.sizes: Mapping[GroupKey, int] = dict(counted)
        self.thresholds: Mapping[GroupKey, Value] = {}
        self._wanted: int | None = None
        if len(self.sizes) > _MOST_GROUPS:
            raise InputError(
                f"--per: makes over {_MOST_GROUPS:,} groups; name a column with fewer values"
            )

    def keep_from(self, least: float) -> Value:
        """Keep the rows of this value and above; return it as the values' type has it."""
        value, kind = least, self._kind
        if self._kind == "FLOAT":
            value = shortest(least)
        elif self._kind != "DOUBLE":  # clamped: beyond 64 bits all bounds are alike
            value, kind = ceil(min(max(least, -(2.0**65)), 2.0**65)), "HUGEINT"
        cut = f"CAST('{value}' AS {kind}) AS lowest, 0::UBIGINT AS lowest_tie"
        self._database.run(f"CREATE TABLE cuts AS SELECT DISTINCT group_key, {cut} FROM rows")
        return value

    def keep_best(self, wanted: Mapping[GroupKey, int]) -> None:
        """Keep the best rows of each group, as many as wanted; a hash decides ties."""
        some = {group: number for group, number in wanted.items() if number}
        kind = pa.int32() if all(isinstance(group, int) for group in some) else pa.string()
        columns = [pa.array([*some], kind), pa.array([*some.values()], pa.int64())]
        source = pa.table(columns, names=["group_key", "remaining"])
        self._database.run("CREATE TABLE near AS SELECT * FROM arrow", {"arrow": source})
        self._database.run(f"""
            CREATE OR REPLACE TABLE near AS
            SELECT group_key, bits, (remaining - above)::BIGINT AS remaining FROM (
                SELECT *, sum(own) OVER (PARTITION BY group_key ORDER BY bits DESC) - own AS above
                FROM (
                    SELECT n.group_key, remaining, upper_bits(value) AS bits, count(*) AS own
                    FROM {_NEAR} WHERE outcome = 'ranked' GROUP BY ALL
                )
            ) WHERE above < remaining AND remaining <= above + own;
            CREATE TABLE cuts AS SELECT group_key, lowest, lowest_tie FROM (
                SELECT n.group_key, remaining, value AS lowest,
                    tie_hash(seed, row_index) AS lowest_tie, row_number() OVER (
                        PARTITION BY n.group_key ORDER BY value DESC, lowest_tie DESC
                    ) AS place
                FROM {_NEAR} JOIN shards USING (row_part)
                WHERE outcome = 'ranked' AND upper_bits(value) = bits
            ) WHERE place = remaining;
        """)
        self._wanted = sum(some.values())
        found = self._database.run("SELECT group_key, lowest FROM cuts")
        is_short = self._kind == "FLOAT"
        self.thresholds = {group: shortest(v) if is_short else v for group, v in found}

    def count(self, errors: Mapping[str, int]) -> dict[str, Any]:
        """Count all rows by their outcome, each once, by the names of `FilterSummary`.

        `errors` are the rows without a score, by error code.
        """
        counts = dict(self._database.run("SELECT outcome, count(*) FROM rows GROUP BY outcome"))
        ((below, at),) = self._database.run(
            "SELECT count(*) FILTER (value < lowest OR lowest IS NULL), "
            f"count(*) FILTER (value = lowest) FROM {_CUT} WHERE outcome = 'ranked'"
        )
        ranked = counts.get("ranked", 0)
        kept = ranked - below if self._wanted is None else self._wanted
        assert kept + below <= ranked <= kept + below + at, "ties alone are decided by the hash"
        unscored: Mapping[str, int] = {}
        if "kept" in counts:
            query = "SELECT error, count(*) FROM rows WHERE outcome = 'kept' GROUP BY error"
            unscored = dict(sorted(self._database.run(query)))
        return {
            "kept": kept + sum(unscored.values()),
            "kept_without_score": unscored,
            "below_threshold": below,
            "tied_at_threshold": ranked - kept - below,
            "excluded_by_where": counts.get("excluded", 0),
            "excluded_by_list": counts.get("listed", 0),
            "duplicates": counts.get("duplicate", 0),
            "without_value": counts.get("valueless", 0),
            "errors": dict(sorted(errors.items())) if "dropped" in counts else {},
        }

    def kept(self, shards: int) -> Iterator[NDArray[np.int32]]:
        """Yield the indices of the kept rows of each shard, in order."""
        batches = self._database.batches(f"""
            SELECT row_part, row_index FROM {_CUT} JOIN shards USING (row_part)
            WHERE outcome = 'kept' OR (outcome = 'ranked' AND (value > lowest OR (
                value = lowest AND tie_hash(seed, row_index) >= lowest_tie)))
            ORDER BY row_part, row_index
        """)
        shard, none = 0, np.empty(0, np.int32)
        for number, table in equal_runs(batches, "row_part"):
            yield from repeat(none, number - shard)
            yield table["row_index"].to_numpy()
            shard = number + 1
        yield from repeat(none, shards - shard)
