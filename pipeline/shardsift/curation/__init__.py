"""From annotations to the samples worth keeping: `filter`, its keep-lists, and `keep` to load them.

filter_config.py   what a person may ask for
where.py      a SQL condition as an expression of pyarrow
joined.py     columns of other files
columns.py    what may be named of annotations and of these; the column that ranks
buckets.py    `--per`: which bucket a row belongs to
selection.py  the exact cut of that order, in bounded memory
duplicates.py all rows of a group but the best
scratch.py    what doesn't fit memory
threshold.py  what kept rows are at or above: given, from sketches, or exact
sieve.py      one annotation file to its kept rows, and a count for each of the others
kept.py       the output folder
uids.py       DataComp's subset file
curate.py     all of it together
loading.py    `keep`, for training loops
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shardsift.curation.loading import KeepList, keep

__all__ = ["KeepList", "keep"]


def __getattr__(name: str) -> Any:  # `filter --help` needs this package, and no pyarrow
    if name in __all__:
        from shardsift.curation import loading

        return getattr(loading, name)
    raise AttributeError(f"module 'shardsift.curation' has no attribute {name!r}")
