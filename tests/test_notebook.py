"""The documentation's notebooks run, and show the documented results."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest

from jobs.notebook import NOTEBOOKS, execute


def kinds(notebook: Any) -> list[set[str]]:
    """The kinds of output of each cell of code."""
    return [
        {kind for output in cell.outputs for kind in output.get("data", {output.output_type: 0})}
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def told(notebook: Any, source: str) -> str:
    """Return the output of the cell that begins so."""
    (cell,) = [cell for cell in notebook.cells if cell.source.startswith(source)]
    return str(cell.outputs[-1].get("data", {}).get("text/plain") or cell.outputs[-1].text)


@pytest.mark.skipif("SHARDSIFT_TEST_DOCS" not in os.environ, reason="make docs-commands: a minute")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_shows_what_stands_in_it(path: Path, tmp_path: Path) -> None:
    for needed in ("matplotlib", "skimage"):
        pytest.importorskip(needed)
    done = execute(path, tmp_path)
    assert kinds(done) == kinds(nbformat.read(path, as_version=4))
    shown = set[str]().union(*kinds(done))
    assert {"text/html", "image/png", "stream"} <= shown
    if path.stem == "notebook":
        assert told(done, 'kept = keep("kept")\nkept').endswith("12 of 24 samples, in 2 shards)")
    if path.stem == "idea":
        assert told(done, "x = np.abs(one.features)").strip() == "True"
