"""The samples that two runs share, one from each side.

Suffixes: _C is the number of columns compared, _N that of pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shardsift.outputs.beside import Beside
from shardsift.outputs.output import OutputFolder, part_of
from shardsift.threads import map_ordered

Values = NDArray[np.float32]
"""Shape (C, N), NaN if null."""

Rows = NDArray[np.int32]
"""Places in the annotation file of each side, shape (2, N)."""

_THREADS = 8


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Rows of two runs for the same samples, file by file.

    Attributes:
        names: of the annotation files that both have; begins: where each one's pairs begin.
        compared: names of the compared columns, quality first.
        a_CN, b_CN: their values.
    """

    folders: tuple[OutputFolder, OutputFolder]
    names: Sequence[str]
    begins: NDArray[np.int64]
    row_2N: Rows
    compared: Sequence[str]
    a_CN: Values
    b_CN: Values

    def read(self, places: Sequence[int]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Read all columns of both rows of some pairs, in their order."""
        file_of = np.searchsorted(self.begins, places, side="right") - 1
        found: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}

        def rows_of(file: int) -> None:
            own = [place for place, at in zip(places, file_of, strict=True) if at == file]
            tables = (folder.annotations.read(self.names[file]) for folder in self.folders)
            a, b = (
                table.take(pa.array(self.row_2N[side, own])).to_pylist()
                for side, table in enumerate(tables)
            )
            found.update(zip(own, zip(a, b, strict=True), strict=True))

        with ThreadPoolExecutor(_THREADS, "compare") as pool:
            list(pool.map(rows_of, sorted(set(file_of.tolist()))))
        return [found[place] for place in places]


def read_pairs(
    folders: tuple[OutputFolder, OutputFolder],
    compared: Sequence[str],
    outputs: Sequence[Beside] = (),
) -> Pairs:
    """Read the compared columns of the files that both folders have.

    Columns that a folder lacks are those of the outputs beside it. Holds two numbers a column and
    sample, and two places. Raises AnnotationError, and InputError as `Beside.read`.
    """
    names = sorted(folders[0].committed & folders[1].committed)

    def pair(name: str) -> tuple[Rows, Values, Values]:
        table_a, table_b = (_read(folder, name, compared, outputs) for folder in folders)
        row_2N = _match(table_a, table_b)
        a_CN, b_CN = _values(table_a, compared), _values(table_b, compared)
        return row_2N, a_CN[:, row_2N[0]], b_CN[:, row_2N[1]]

    found = list(map_ordered(pair, names, _THREADS))
    sizes = [rows.shape[1] for rows, _, _ in found]
    row_2N, a_CN, b_CN = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
    return Pairs(
        folders=folders,
        names=names,
        begins=np.cumsum([0, *sizes[:-1]]),
        row_2N=row_2N,
        compared=compared,
        a_CN=a_CN,
        b_CN=b_CN,
    )


def _read(
    folder: OutputFolder, name: str, compared: Sequence[str], outputs: Sequence[Beside]
) -> Any:
    own = {column.name for column in folder.contents.columns}
    names = ["key", "index", *(column for column in compared if column in own)]
    footer, table = folder.annotations.read_with_footer(name, names)
    for output in outputs:
        theirs = {column.name for column in output.columns}
        lacking = [c for c in compared if c in theirs and c not in table.column_names]
        added = output.read(part_of(name, footer), lacking)
        for column in lacking:
            table = table.append_column(column, added[column])
    return table


def _match(table_a: Any, table_b: Any) -> Rows:
    """Find the rows of the samples that both tables have."""
    if table_a["key"].equals(table_b["key"]) and table_a["index"].equals(table_b["index"]):
        return np.tile(np.arange(len(table_a), dtype=np.int32), (2, 1))
    place = {sample: n for n, sample in enumerate(_identities(table_b))}
    found = [(n, place[sample]) for n, sample in enumerate(_identities(table_a)) if sample in place]
    return np.array(found, np.int32).reshape(-1, 2).T


def _identities(table: Any) -> list[tuple[str, int]]:
    return list(zip(table["key"].to_pylist(), table["index"].to_pylist(), strict=True))


def _values(table: Any, columns: Sequence[str]) -> Values:
    found = (table[name].cast(pa.float32()).to_numpy(zero_copy_only=False) for name in columns)
    return np.stack(list(found))
