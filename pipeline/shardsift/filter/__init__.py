"""From annotations to the samples worth keeping: `filter`, its keep-lists, and `keep` to load them.

expressions.py  SQL of one row, checked and rewritten
tables.py       tables of others: `--join`, `--exclude`, `--on`
database.py     DuckDB: what it may read, its memory, its errors
imported.py     any Parquet with the columns of annotations
rows.py         all rows in the database: fate, value, bucket
selection.py    the threshold, and the rows that reach it
query.py        all of it together
keep_list.py    the file of a shard's kept samples
output.py       the output folder
uids.py         DataComp's subset file
loading.py      `keep`, for training loops
locating.py     names of shards from their locations
verify.py       proof of an output
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shardsift.filter.loading import KeepList, keep

__all__ = ["KeepList", "keep"]


def __getattr__(name: str) -> Any:  # `filter --help` needs this package, and no pyarrow
    if name in __all__:
        from shardsift.filter import loading

        return getattr(loading, name)
    raise AttributeError(f"module 'shardsift.filter' has no attribute {name!r}")
